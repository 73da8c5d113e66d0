#ifndef FMFORGE_TEXT_TOKENIZER_CHECK_H
#define FMFORGE_TEXT_TOKENIZER_CHECK_H

/*
 * Does a tokenizer belong to a vocabulary? As many pieces as the embedding has rows, and beside the
 * model, where there is one, a JSON file of extra ids, as the training toolkit's
 * assets/tokenizer-config.json. The form of that file is not public; what is checked holds in any:
 *
 *   vocab_size          is the size of the vocabulary
 *   id, ids, *_id, *_ids  an integer, or integers in lists and objects below it, are ids of the
 *                       vocabulary; null and -1 mean none, texts are no ids
 */

#include <stdint.h>

#include "pipeline/base/err.h"
#include "pipeline/base/json.h"

struct tokenizer_facts {
    int n_pieces;
    int64_t n_ids; /* of the config that were checked */
};

/* config_path may be NULL. ERR_CONFIG: another size than the vocabulary, an id outside of it;
 * ERR_FORMAT, ERR_MISSING, ERR_IO of either file. */
int tokenizer_check(const char *model_path, const char *config_path, int vocab,
                    struct tokenizer_facts *out, struct err *e) MUST_USE;
/* The second half alone; the message begins with the member's path: "extra: pad_id". */
int tokenizer_check_ids(const struct json *config, int vocab, int64_t *n_ids,
                        struct err *e) MUST_USE;

#endif
