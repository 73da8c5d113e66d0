#ifndef FMFORGE_ENGINE_GATES_H
#define FMFORGE_ENGINE_GATES_H

/*
 * Gates: what a stage's metrics must reach. They are in no key and are judged on every run, also
 * on results that were there already. The forms:
 *
 *   exact_match >= 0.90              also > <= < ==
 *   team_match > lookup.team_match   against another stage's metrics in the same run
 *   exact_match drop <= 0.01         against golden/baselines/<manifest>/<instance>.json
 */

#include <stdbool.h>
#include <stddef.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"
#include "pipeline/base/json.h"
#include "pipeline/manifest/yaml_doc.h"

enum gate_type { GATE_NUMBER, GATE_STAGE, GATE_DROP };

struct gate {
    char *text; /* as written */
    enum gate_type type;
    char *metric;
    char op[3];
    double value;       /* NUMBER, DROP */
    char *stage;        /* STAGE */
    char *stage_metric; /* STAGE */
    size_t i_other;     /* STAGE: the instance compared with; set by the graph */
    struct yaml_mark mark;
};

int gate_parse(const struct yaml_doc *doc, const struct doc_node *node, const char *text,
               struct gate *out, struct err *e) MUST_USE;
void gate_release(struct gate *g); /* safe on zeroed */

enum gate_verdict { GATE_HOLDS, GATE_FAILS, GATE_NO_BASELINE };

struct gate_result {
    enum gate_verdict verdict;
    double value, bound; /* bound: what it was compared with */
    bool has_value, has_bound;
    char note[ERR_TEXT_BYTES]; /* why it cannot be judged: "there is no metric x"; "" */
};

/* Judges with flat metrics objects: own, the other stage's (STAGE), the baseline (DROP); NULL
 * where there is none. A gate that cannot be judged fails; without a baseline it is said. */
struct gate_result gate_judge(const struct gate *g, const struct json *own,
                              const struct json *other, const struct json *baseline);

#endif
