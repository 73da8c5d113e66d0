#ifndef FMFORGE_MODEL_UNPICKLE_H
#define FMFORGE_MODEL_UNPICKLE_H

/*
 * The pickle machine for `data.pkl` of torch.save: protocol 2, and of that what tensors in dicts
 * need. It executes nothing. A name that a pickle asks for is looked up in the list of
 * torch_global.h and is never more than an entry of that list; "calling" it makes a value of
 * pickle.h (torch_call.h): no name means code. Source of the opcodes: Python's Lib/pickletools.py.
 *
 * Opcodes taken: PROTO STOP MARK; NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
 * BINUNICODE; EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM
 * SETITEMS; BINPUT LONG_BINPUT BINGET LONG_BINGET; GLOBAL REDUCE BUILD BINPERSID. There is no jump,
 * so a pickle takes as many steps as it has opcodes.
 *
 * BUILD gives an object attributes (an OrderedDict's `_metadata`): they are checked and dropped.
 */

#include <stddef.h>

#include "pipeline/base/err.h"
#include "stages/model/pickle.h"

/* Runs the pickle; *p borrows from the bytes and is released by the caller. Messages begin with
 * "data.pkl, offset N: ", the byte of the opcode. ERR_FORMAT, ERR_LIMIT; on error *p owns nothing.
 */
int unpickle(struct pickle *p, const unsigned char *bytes, size_t n_bytes, struct err *e) MUST_USE;

#endif
