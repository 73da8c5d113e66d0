#include "stages/model/lora_export.h"

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/size.h"
#include "pipeline/base/xalloc.h"
#include "stages/model/lora_import.h"
#include "stages/model/lora_names.h"

size_t lora_export_bytes(const struct shape *s, int rank, enum lora_format format)
{
    return format == LORA_PEFT ? size_mul(shape_lora_floats(s, rank), sizeof(float)) : 0;
}

/* (rows, columns) to (columns, rows) */
static void transpose(const float *from, size_t rows, size_t columns, float *to)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

static void add(const struct adapter *a, enum lora_format format, const struct shape_module *m,
                bool b, float *transposed, struct tensor_writer *w)
{
    char name[LORA_NAME_BYTES];
    uint64_t rows = (uint64_t)(b ? a->rank : m->in), columns = (uint64_t)(b ? m->out : a->rank);
    const float *values = b ? adapter_b(a, m) : adapter_a(a, m);
    const uint64_t dims[2] = {rows, columns}, turned[2] = {columns, rows};
    lora_name_of(format, &a->shape, m, b, name);
    if (format == LORA_PEFT) {
        float *to = transposed + (b ? m->b_offset : m->a_offset);
        transpose(values, (size_t)rows, (size_t)columns, to);
        tensor_writer_add_f32(w, name, DTYPE_F32, 2, turned, to);
    } else {
        tensor_writer_add_f32(w, name, DTYPE_F32, 2, dims, values);
    }
}

static int save_values(const struct adapter *a, enum lora_format format, const char *path,
                       struct err *e)
{
    float *transposed = xalloc(lora_export_bytes(&a->shape, a->rank, format));
    struct tensor_writer w;
    tensor_writer_init(&w);
    tensor_writer_meta(&w, "format", format == LORA_PEFT ? "pt" : "mlx");
    if (a->base.hex[0])
        tensor_writer_meta(&w, "fmforge.base", a->base.hex);
    for (int i = 0; i < shape_n_modules(&a->shape); i++) {
        struct shape_module m;
        shape_module(&a->shape, i, a->rank, &m);
        add(a, format, &m, false, transposed, &w);
        add(a, format, &m, true, transposed, &w);
    }
    int rc = tensor_writer_write(&w, path, e);
    tensor_writer_release(&w);
    xfree(transposed);
    return rc;
}

static int save_config(const struct adapter *a, enum lora_format format, const char *path,
                       struct err *e)
{
    const struct lora_config c = {a->rank, a->alpha};
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    lora_config_write(format, &c, shape_layers(&a->shape), &text);
    int rc = file_write(path, text.bytes, text.n_bytes, e);
    buf_release(&text);
    return rc;
}

int lora_export_save(const struct adapter *a, enum lora_format format, const char *folder,
                     struct err *e)
{
    CHECK(format != LORA_TOOLKIT);
    char *values = file_join(folder, format == LORA_PEFT ? LORA_PEFT_FILE : LORA_MLX_FILE);
    char *config = file_join(folder, LORA_CONFIG_FILE);
    int rc = file_make_folder(folder, e);
    if (rc == 0)
        rc = save_values(a, format, values, e);
    if (rc == 0)
        rc = save_config(a, format, config, e);
    xfree(config);
    xfree(values);
    return rc;
}
