#ifndef FMFORGE_ENGINE_TEST_RESULT_H
#define FMFORGE_ENGINE_TEST_RESULT_H

/*
 * How a stage that answered a golden set did by its gates, as others' tools read it: an in-toto
 * Statement v1 with the predicate https://in-toto.io/attestation/test-result/v0.1
 * (github.com/in-toto/attestation, spec/predicates/test-result.md). Gates are judged on every run,
 * so it belongs to the run and not to the execution. It has no time: equal results are equal bytes.
 *
 *   subject         what was tested: the package, adapter or draft, else the base, by digest
 *   result          FAILED: a gate does not hold; WARNED: one has no baseline; else PASSED
 *   configuration   golden set, recipe of the evaluation, manifest
 *   passedTests, warnedTests, failedTests    the gates, as the manifest says them
 */

#include <stdbool.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/json.h"
#include "pipeline/engine/session.h"

/* run: run.json. False, and nothing is written, when instance i has no gates or no golden set. */
bool test_result_write(const struct session *s, size_t i, const struct json *run, struct buf *out);

#endif
