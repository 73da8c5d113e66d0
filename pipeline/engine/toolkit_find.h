#ifndef FMFORGE_ENGINE_TOOLKIT_FIND_H
#define FMFORGE_ENGINE_TOOLKIT_FIND_H

/*
 * Which toolkit a file belongs to. A package names its base's signature in metadata.json; a
 * checkpoint names the content id of its base in its safetensors header. The engine reads these
 * two small texts and nothing else of a model.
 */

#include "pipeline/base/err.h"
#include "pipeline/manifest/toolkit_dir.h"

/*
 * Opens the toolkit `folder` when it is given, else the one below `shelf` that fits the files in
 * `paths` (NULL entries are skipped); with files that name no base: the only one there is. A given
 * toolkit that does not fit is refused. ERR_CONFIG lists what there is. Release *out also after an
 * error.
 */
int toolkit_find(struct toolkit_dir *out, const char *folder, const char *shelf,
                 const char *const *paths, size_t n_paths, struct err *e) MUST_USE;

/* Opens the toolkit below `shelf` that `path` belongs to: it was made for its base, or is one of
 * its files. false when there is none. Release *out in either case. */
bool toolkit_find_owner(struct toolkit_dir *out, const char *shelf, const char *path);

#endif
