#ifndef FMFORGE_ENGINE_REPORT_FINDINGS_H
#define FMFORGE_ENGINE_REPORT_FINDINGS_H

/*
 * What stages found odd and did not stop at: the rows of a table with the title "Findings" in a
 * stage's report (stages/kit/blocks.h), each what, how often and where. They are said on the
 * terminal, and at the head of the page: in a section far below nobody looks for them.
 */

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/store/store.h"

/* Is this block of a report the table of its findings? */
bool findings_is_block(const struct json *block);
/* How many a report (NULL: 0) has. */
size_t findings_count(const struct json *report);
/* Notices of a page, about the section in which they stand. */
void findings_add_notices(struct json *page, const char *stage, const char *section,
                          const struct json *report);
/* A line each, cut; the first ones, and how many more there are. stage: of run.json. */
void findings_say(struct store *s, const struct json *stage, struct buf *out);

#endif
