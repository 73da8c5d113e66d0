#include "stages/model/unpickle.h"

#include <inttypes.h>
#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/printable.h"
#include "stages/model/torch_call.h"

struct machine {
    struct pickle *p;
    const unsigned char *bytes;
    size_t n_bytes;
    size_t next;     /* offset of the next byte */
    uint32_t *stack; /* values; 0 = a mark */
    size_t n_stack;
    size_t stack_capacity;
    uint32_t *memo; /* values; 0 = not set */
    size_t n_memo;
};

/* ---- the bytes, the stack, the memo ---- */

static int take(struct machine *m, size_t n, const unsigned char **out, struct err *e)
{
    if (n > m->n_bytes - m->next)
        return err_set(e, ERR_FORMAT, "its %zu bytes reach past the end at offset %zu", n,
                       m->n_bytes);
    *out = m->bytes + m->next;
    m->next += n;
    return 0;
}

static int push(struct machine *m, uint32_t v, struct err *e)
{
    if (m->n_stack == LIMIT_PICKLE_VALUES)
        return err_set(e, ERR_LIMIT, "more than %zu values on the stack: LIMIT_PICKLE_VALUES",
                       LIMIT_PICKLE_VALUES);
    if (m->n_stack == m->stack_capacity) {
        m->stack_capacity = m->stack_capacity == 0 ? 64 : 2 * m->stack_capacity;
        m->stack = xrealloc_array(m->stack, m->stack_capacity, sizeof *m->stack);
    }
    m->stack[m->n_stack++] = v;
    return 0;
}

static int push_new(struct machine *m, enum pickle_kind kind, struct pickle_value **out,
                    struct err *e)
{
    uint32_t v = 0;
    int rc = pickle_new(m->p, kind, &v, e);
    if (rc == 0)
        rc = push(m, v, e);
    if (rc == 0)
        *out = &m->p->values[v];
    return rc;
}

/* The top value; a mark is none. */
static int top(const struct machine *m, uint32_t *out, struct err *e)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1] == 0)
        return err_set(e, ERR_FORMAT, "wants a value, but the stack has none");
    *out = m->stack[m->n_stack - 1];
    return 0;
}

/* Index of the last mark. What lies above it is consumed by the caller, so all such searches
 * together take no more steps than there were pushes. */
static int find_mark(const struct machine *m, size_t *out, struct err *e)
{
    for (size_t i = m->n_stack; i-- > 0;) {
        if (m->stack[i] == 0) {
            *out = i;
            return 0;
        }
    }
    return err_set(e, ERR_FORMAT, "wants a mark, but the stack has none");
}

static int put_memo(struct machine *m, uint64_t i, struct err *e)
{
    uint32_t v = 0;
    int rc = top(m, &v, e);
    if (rc != 0)
        return rc;
    if (i >= m->n_bytes || i >= LIMIT_PICKLE_VALUES)
        return err_set(e, ERR_LIMIT,
                       "memo index %" PRIu64
                       " in a pickle of %zu bytes, LIMIT_PICKLE_VALUES is %zu",
                       i, m->n_bytes, LIMIT_PICKLE_VALUES);
    if (i >= m->n_memo) {
        size_t n = 2 * (size_t)i + 64;
        m->memo = xrealloc_array(m->memo, n, sizeof *m->memo);
        memset(m->memo + m->n_memo, 0, (n - m->n_memo) * sizeof *m->memo);
        m->n_memo = n;
    }
    m->memo[i] = v;
    return 0;
}

static int get_memo(struct machine *m, uint64_t i, struct err *e)
{
    if (i >= m->n_memo || m->memo[i] == 0)
        return err_set(e, ERR_FORMAT, "memo %" PRIu64 " is not set", i);
    return push(m, m->memo[i], e);
}

/* ---- simple values ---- */

static int push_bool(struct machine *m, bool truth, struct err *e)
{
    struct pickle_value *v = NULL;
    int rc = push_new(m, PICKLE_BOOL, &v, e);
    if (rc == 0)
        v->truth = truth;
    return rc;
}

static int push_int(struct machine *m, int64_t number, struct err *e)
{
    struct pickle_value *v = NULL;
    int rc = push_new(m, PICKLE_INT, &v, e);
    if (rc == 0)
        v->number = number;
    return rc;
}

/* An argument of n bytes, little endian, not negative. */
static int take_number(struct machine *m, size_t n, uint64_t *out, struct err *e)
{
    const unsigned char *b = NULL;
    int rc = take(m, n, &b, e);
    if (rc != 0)
        return rc;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)b[i] << (8 * i);
    return 0;
}

/* An integer of n bytes; its highest bit is a sign when `is_signed`. */
static int do_int(struct machine *m, size_t n, bool is_signed, struct err *e)
{
    uint64_t bits = 0;
    int rc = take_number(m, n, &bits, e);
    if (rc != 0)
        return rc;
    if (is_signed && n > 0 && n < 8 && bits >> (8 * n - 1) != 0)
        bits |= UINT64_MAX << (8 * n);
    int64_t number = 0;
    memcpy(&number, &bits, sizeof number);
    return push_int(m, number, e);
}

static int do_long1(struct machine *m, struct err *e)
{
    uint64_t n = 0;
    int rc = take_number(m, 1, &n, e);
    if (rc != 0)
        return rc;
    if (n > 8)
        return err_set(e, ERR_FORMAT, "an integer of %" PRIu64 " bytes, expected at most 8", n);
    return do_int(m, (size_t)n, true, e);
}

static int do_float(struct machine *m, struct err *e)
{
    const unsigned char *b = NULL;
    struct pickle_value *v = NULL;
    int rc = take(m, 8, &b, e);
    if (rc == 0)
        rc = push_new(m, PICKLE_FLOAT, &v, e);
    if (rc != 0)
        return rc;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) /* big endian */
        bits = bits << 8 | b[i];
    memcpy(&v->real, &bits, sizeof bits);
    return 0;
}

static int do_text(struct machine *m, struct err *e)
{
    uint64_t n = 0;
    const unsigned char *b = NULL;
    struct pickle_value *v = NULL;
    int rc = take_number(m, 4, &n, e);
    if (rc == 0)
        rc = take(m, (size_t)n, &b, e);
    if (rc != 0)
        return rc;
    if (str_utf8_prefix((const char *)b, (size_t)n) != n)
        return err_set(e, ERR_FORMAT, "a text that is not valid UTF-8");
    rc = push_new(m, PICKLE_TEXT, &v, e);
    if (rc == 0)
        v->text = (struct pickle_text){(const char *)b, (size_t)n};
    return rc;
}

/* ---- containers ---- */

/* The top n values, from stack[first] on, become one tuple in the place of stack[base]. */
static int make_tuple(struct machine *m, size_t base, size_t first, struct err *e)
{
    uint32_t tuple = 0;
    int rc = pickle_new(m->p, PICKLE_TUPLE, &tuple, e);
    for (size_t i = first; i < m->n_stack && rc == 0; i++)
        rc = pickle_append(m->p, tuple, 0, m->stack[i], e);
    if (rc != 0)
        return rc;
    m->n_stack = base;
    return push(m, tuple, e);
}

static int do_tuple(struct machine *m, struct err *e)
{
    size_t mark = 0;
    int rc = find_mark(m, &mark, e);
    return rc != 0 ? rc : make_tuple(m, mark, mark + 1, e);
}

static int do_short_tuple(struct machine *m, size_t n, struct err *e)
{
    for (size_t i = 1; i <= n; i++)
        if (m->n_stack < i || m->stack[m->n_stack - i] == 0)
            return err_set(e, ERR_FORMAT, "wants %zu values, the stack has %zu", n, i - 1);
    return make_tuple(m, m->n_stack - n, m->n_stack - n, e);
}

/* The container below `above` values, which has to be of the kind. */
static int find_target(const struct machine *m, size_t above, enum pickle_kind kind, uint32_t *out,
                       struct err *e)
{
    if (m->n_stack <= above || m->stack[m->n_stack - above - 1] == 0)
        return err_set(e, ERR_FORMAT, "wants %s, but the stack has none", pickle_kind_name(kind));
    *out = m->stack[m->n_stack - above - 1];
    enum pickle_kind found = pickle_at(m->p, *out)->kind;
    if (found != kind)
        return err_set(e, ERR_FORMAT, "wants %s, found %s", pickle_kind_name(kind),
                       pickle_kind_name(found));
    return 0;
}

/* The top n values go into the list below `above` values, and `above` are dropped. */
static int add_to_list(struct machine *m, size_t n, size_t above, struct err *e)
{
    uint32_t list = 0;
    int rc = find_target(m, above, PICKLE_LIST, &list, e);
    for (size_t i = m->n_stack - n; i < m->n_stack && rc == 0; i++)
        rc = pickle_append(m->p, list, 0, m->stack[i], e);
    m->n_stack -= rc == 0 ? above : 0;
    return rc;
}

static int add_to_dict(struct machine *m, size_t n, size_t above, struct err *e)
{
    uint32_t dict = 0;
    int rc = find_target(m, above, PICKLE_DICT, &dict, e);
    if (rc == 0 && n % 2 != 0)
        rc = err_set(e, ERR_FORMAT, "%zu keys and values, expected pairs", n);
    for (size_t i = m->n_stack - n; i < m->n_stack && rc == 0; i += 2) {
        enum pickle_kind kind = pickle_at(m->p, m->stack[i])->kind;
        if (kind != PICKLE_TEXT && kind != PICKLE_INT)
            return err_set(e, ERR_FORMAT, "a key is %s, expected a text or an integer",
                           pickle_kind_name(kind));
        rc = pickle_append(m->p, dict, m->stack[i], m->stack[i + 1], e);
    }
    m->n_stack -= rc == 0 ? above : 0;
    return rc;
}

static int do_items(struct machine *m, enum pickle_kind kind, struct err *e)
{
    size_t mark = 0;
    int rc = find_mark(m, &mark, e);
    if (rc != 0)
        return rc;
    size_t n = m->n_stack - mark - 1;
    return kind == PICKLE_LIST ? add_to_list(m, n, n + 1, e) : add_to_dict(m, n, n + 1, e);
}

/* APPEND and SETITEM: without a mark. */
static int do_item(struct machine *m, enum pickle_kind kind, struct err *e)
{
    size_t n = kind == PICKLE_LIST ? 1 : 2;
    for (size_t i = 1; i <= n; i++)
        if (m->n_stack < i || m->stack[m->n_stack - i] == 0)
            return err_set(e, ERR_FORMAT, "wants %zu values, the stack has %zu", n, i - 1);
    return kind == PICKLE_LIST ? add_to_list(m, n, n, e) : add_to_dict(m, n, n, e);
}

static int do_build(struct machine *m, struct err *e)
{
    uint32_t state = 0, object = 0;
    int rc = find_target(m, 0, PICKLE_DICT, &state, e);
    if (rc == 0)
        rc = find_target(m, 1, PICKLE_DICT, &object, e);
    m->n_stack -= rc == 0;
    return rc;
}

/* ---- names and what they make ---- */

static int do_global(struct machine *m, struct err *e)
{
    const char *part[2];
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        const unsigned char *from = m->bytes + m->next;
        const unsigned char *end = memchr(from, '\n', m->n_bytes - m->next);
        if (end == NULL)
            return err_set(e, ERR_FORMAT, "a name without an end");
        part[i] = (const char *)from;
        n[i] = (size_t)(end - from);
        m->next += n[i] + 1;
    }
    const struct torch_global *g = torch_global_find(part[0], n[0], part[1], n[1]);
    if (g == NULL) {
        char module[PRINTABLE_BYTES], name[PRINTABLE_BYTES];
        return err_set(e, ERR_FORMAT, "asks for %s.%s: fmforge executes nothing from a file",
                       printable(part[0], n[0], module), printable(part[1], n[1], name));
    }
    struct pickle_value *v = NULL;
    int rc = push_new(m, PICKLE_GLOBAL, &v, e);
    if (rc == 0)
        v->global = g;
    return rc;
}

static int do_reduce(struct machine *m, struct err *e)
{
    uint32_t args = 0, callable = 0, made = 0;
    int rc = find_target(m, 0, PICKLE_TUPLE, &args, e);
    if (rc == 0)
        rc = find_target(m, 1, PICKLE_GLOBAL, &callable, e);
    if (rc == 0)
        rc = torch_call(m->p, pickle_at(m->p, callable)->global, args, &made, e);
    if (rc != 0)
        return rc;
    m->n_stack -= 2;
    return push(m, made, e);
}

static int do_storage(struct machine *m, struct err *e)
{
    uint32_t id = 0, made = 0;
    int rc = find_target(m, 0, PICKLE_TUPLE, &id, e);
    if (rc == 0)
        rc = torch_call_storage(m->p, id, &made, e);
    if (rc == 0)
        m->stack[m->n_stack - 1] = made;
    return rc;
}

/* ---- the loop ---- */

/* Opcodes that exist and are not taken. */
static const char *opcode_name(unsigned char op)
{
    static const struct {
        unsigned char op;
        const char *name;
    } names[] = {
        {'F', "FLOAT"},
        {'I', "INT"},
        {'L', "LONG"},
        {'S', "STRING"},
        {'T', "BINSTRING"},
        {'U', "SHORT_BINSTRING"},
        {'V', "UNICODE"},
        {'B', "BINBYTES"},
        {'C', "SHORT_BINBYTES"},
        {'P', "PERSID"},
        {'0', "POP"},
        {'1', "POP_MARK"},
        {'2', "DUP"},
        {'d', "DICT"},
        {'g', "GET"},
        {'i', "INST"},
        {'l', "LIST"},
        {'o', "OBJ"},
        {'p', "PUT"},
        {0x80, "PROTO"},
        {0x81, "NEWOBJ"},
        {0x82, "EXT1"},
        {0x83, "EXT2"},
        {0x84, "EXT4"},
        {0x8b, "LONG4"},
        {0x8c, "SHORT_BINUNICODE"},
        {0x8d, "BINUNICODE8"},
        {0x8e, "BINBYTES8"},
        {0x8f, "EMPTY_SET"},
        {0x90, "ADDITEMS"},
        {0x91, "FROZENSET"},
        {0x92, "NEWOBJ_EX"},
        {0x93, "STACK_GLOBAL"},
        {0x94, "MEMOIZE"},
        {0x95, "FRAME"},
        {0x96, "BYTEARRAY8"},
        {0x97, "NEXT_BUFFER"},
        {0x98, "READONLY_BUFFER"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].op == op)
            return names[i].name;
    return "which does not exist";
}

static int do_memo(struct machine *m, bool is_put, size_t index_bytes, struct err *e)
{
    uint64_t i = 0;
    int rc = take_number(m, index_bytes, &i, e);
    if (rc != 0)
        return rc;
    return is_put ? put_memo(m, i, e) : get_memo(m, i, e);
}

/* Any opcode but STOP. */
static int step(struct machine *m, unsigned char op, struct err *e)
{
    struct pickle_value *v = NULL;
    switch (op) {
    case '(':
        return push(m, 0, e);
    case 'N':
        return push_new(m, PICKLE_NONE, &v, e);
    case 0x88:
    case 0x89:
        return push_bool(m, op == 0x88, e);
    case 'J':
        return do_int(m, 4, true, e);
    case 'K':
        return do_int(m, 1, false, e);
    case 'M':
        return do_int(m, 2, false, e);
    case 0x8a:
        return do_long1(m, e);
    case 'G':
        return do_float(m, e);
    case 'X':
        return do_text(m, e);
    case ')':
        return push_new(m, PICKLE_TUPLE, &v, e);
    case 't':
        return do_tuple(m, e);
    case 0x85:
    case 0x86:
    case 0x87:
        return do_short_tuple(m, (size_t)op - 0x84, e);
    case ']':
        return push_new(m, PICKLE_LIST, &v, e);
    case 'a':
        return do_item(m, PICKLE_LIST, e);
    case 'e':
        return do_items(m, PICKLE_LIST, e);
    case '}':
        return push_new(m, PICKLE_DICT, &v, e);
    case 's':
        return do_item(m, PICKLE_DICT, e);
    case 'u':
        return do_items(m, PICKLE_DICT, e);
    case 'q':
    case 'r':
        return do_memo(m, true, op == 'q' ? 1 : 4, e);
    case 'h':
    case 'j':
        return do_memo(m, false, op == 'h' ? 1 : 4, e);
    case 'c':
        return do_global(m, e);
    case 'R':
        return do_reduce(m, e);
    case 'b':
        return do_build(m, e);
    case 'Q':
        return do_storage(m, e);
    default:
        return err_set(e, ERR_FORMAT, "opcode 0x%02x, %s: fmforge does not take it", op,
                       opcode_name(op));
    }
}

static int run(struct machine *m, struct err *e)
{
    if (m->n_bytes < 2 || m->bytes[0] != 0x80)
        return err_set(e, ERR_FORMAT, "not a pickle: it does not begin with a protocol");
    if (m->bytes[1] != 2)
        return err_set(e, ERR_FORMAT,
                       "pickle protocol %d, expected 2: save it without pickle_protocol",
                       m->bytes[1]);
    for (m->next = 2; m->next < m->n_bytes;) {
        m->p->at = m->next++;
        if (m->bytes[m->p->at] == '.') {
            if (m->n_stack != 1 || m->stack[0] == 0)
                return err_set(e, ERR_FORMAT, "%zu values at the end, expected one", m->n_stack);
            if (m->next != m->n_bytes)
                return err_set(e, ERR_FORMAT, "%zu bytes behind the end", m->n_bytes - m->next);
            m->p->root = m->stack[0];
            return 0;
        }
        int rc = step(m, m->bytes[m->p->at], e);
        if (rc != 0)
            return rc;
    }
    m->p->at = m->n_bytes;
    return err_set(e, ERR_FORMAT, "the pickle has no end");
}

int unpickle(struct pickle *p, const unsigned char *bytes, size_t n_bytes, struct err *e)
{
    struct machine m = {.p = p, .bytes = bytes, .n_bytes = n_bytes};
    *p = (struct pickle){0};
    if (n_bytes > LIMIT_PICKLE_BYTES)
        return err_set(e, ERR_LIMIT, "data.pkl: %zu bytes, LIMIT_PICKLE_BYTES is %" PRIu64, n_bytes,
                       LIMIT_PICKLE_BYTES);
    pickle_init(p);
    int rc = run(&m, e);
    if (rc != 0)
        (void)err_wrap(e, "data.pkl, offset %zu", p->at);
    else
        rc = pickle_check_keys(p, e);
    xfree(m.stack);
    xfree(m.memo);
    if (rc != 0)
        pickle_release(p);
    return rc;
}
