#ifndef FMFORGE_MANIFEST_LAYOUT_H
#define FMFORGE_MANIFEST_LAYOUT_H

/*
 * A layout: how the folder of somebody else, which has no toolkit.yaml, is read as a toolkit.
 *
 *   fmforge_layout: 1
 *   description: text
 *   versions: [afm-26.0.0]           # toolkits beside this file: the one with the folder's
 *                                    # signature gives name and version; no version is guessed
 *   must_have: [assets/base.pt]      # patterns (folder_glob.h): with all of them it is such a one
 *   refuse:                          # what looks like one and is not; may be absent
 *     - { folder: "*_v0_1*", because: text }                    # the folder's own name
 *     - { file: a.json, key: type, expected: x, because: text } # a text of a JSON file, if there
 *   signature: { from: constants.py, assignment: BASE_SIGNATURE }   # assignment.h
 *   public: [template, shape]        # facets of the version's toolkit, as they are
 *   facets:                          # as in toolkit.yaml; each path is a pattern in the folder
 *     base: { run: import, inputs: { pt: assets/base.pt, shape: toolkit.shape } }
 *
 * Everything that lies in the folder is private, whatever a facet says. Nothing in it is executed.
 */

#include <stdbool.h>

#include "pipeline/base/err.h"
#include "pipeline/manifest/toolkit_dir.h"
#include "pipeline/manifest/yaml_doc.h"

#define LAYOUT_SUFFIX "-layout.yaml"

struct layout {
    struct yaml_doc doc;
    /* Nodes of doc. */
    const struct doc_node *versions;  /* labels, at least one */
    const struct doc_node *must_have; /* good patterns, at least one */
    const struct doc_node *refuse;    /* mappings, or NULL */
    const struct doc_node *from, *assignment;
    const struct doc_node *public_facets; /* names, or NULL */
};

/* Reads a layout file and checks its form: ERR_CONFIG with file:line:column. Release also after an
 * error. */
int layout_read(struct layout *l, const char *path, struct err *e) MUST_USE;
void layout_release(struct layout *l); /* safe on zeroed */

/* Opens `folder`, which has no toolkit.yaml, by the one layout of `shelf` (NAME-layout.yaml) that
 * fits. ERR_CONFIG says which files each layout looks for and which are not there, which rule
 * refuses the folder, or which signature is not known. Release *t also after an error. */
int layout_open(struct toolkit_dir *t, const char *folder, const char *shelf,
                struct err *e) MUST_USE;
/* Has the folder any file that a layout of `shelf` must have, or does one refuse it? Then it is one
 * to be opened, if only for the message. */
bool layout_resembles(const char *folder, const char *shelf);

#endif
