#ifndef FMFORGE_TEXT_SPM_SHIM_H
#define FMFORGE_TEXT_SPM_SHIM_H

/*
 * The C side of SentencePiece, for spm.c alone. No exception crosses: a failure is -1 with a
 * message in error (always NUL-terminated). Vectors and strings that SentencePiece returns are
 * copied to memory of xalloc.h; the caller xfrees.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPM_SHIM_ERROR_BYTES 512

struct spm_shim; /* a sentencepiece::SentencePieceProcessor */

int spm_shim_open(const void *bytes, size_t n_bytes, struct spm_shim **out,
                  char error[SPM_SHIM_ERROR_BYTES]);
void spm_shim_close(struct spm_shim *s);
int spm_shim_size(const struct spm_shim *s);
int spm_shim_encode(const struct spm_shim *s, const char *text, size_t n_bytes, int32_t **ids,
                    size_t *n_ids, char error[SPM_SHIM_ERROR_BYTES]);
int spm_shim_decode(const struct spm_shim *s, const int32_t *ids, size_t n_ids, char **text,
                    size_t *n_bytes, char error[SPM_SHIM_ERROR_BYTES]);
int32_t spm_shim_piece_id(const struct spm_shim *s,
                          const char *piece); /* id of <unk> when absent */
int spm_shim_piece(const struct spm_shim *s, int32_t id, char **text, size_t *n_bytes,
                   char error[SPM_SHIM_ERROR_BYTES]);

/* A setting of the trainer: name and value as spm_train takes them. */
struct spm_shim_setting {
    const char *name;
    const char *value;
};

/* Gives the next line; 0 at the end. Borrowed until the next call. */
typedef int spm_shim_next(void *context, const char **line, size_t *n_bytes);

int spm_shim_train(const struct spm_shim_setting *settings, size_t n_settings, spm_shim_next *next,
                   void *context, char **model, size_t *n_bytes, char error[SPM_SHIM_ERROR_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
