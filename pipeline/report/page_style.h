#ifndef FMFORGE_REPORT_PAGE_STYLE_H
#define FMFORGE_REPORT_PAGE_STYLE_H

/*
 * The style sheet of the page. Colours are custom properties, once for light and once for dark;
 * drawings take them too.
 */

#include "pipeline/base/buf.h"

void page_style_write(struct buf *out); /* <style>...</style> */

#endif
