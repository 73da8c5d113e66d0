#ifndef FMFORGE_BASE_RELEASE_H
#define FMFORGE_BASE_RELEASE_H

/* Of these programs: in statements, bills of materials and events. */
#define FMFORGE_VERSION "0.2"

#endif
