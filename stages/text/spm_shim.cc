/*
 * The one C++ file: SentencePiece behind a C interface. It keeps nothing of its own. SentencePiece
 * reports most failures as a status and a few as exceptions (bad_alloc, its own in old versions);
 * both end here.
 */

#include "stages/text/spm_shim.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "pipeline/base/xalloc.h"

struct spm_shim {
    sentencepiece::SentencePieceProcessor processor;
};

namespace
{

int fail(char *error, const char *reason)
{
    std::strncpy(error, reason, SPM_SHIM_ERROR_BYTES - 1);
    error[SPM_SHIM_ERROR_BYTES - 1] = '\0';
    return -1;
}

/* Runs body, which returns a status; every way of failing becomes -1 and a message. */
template <typename Body> int guarded(char *error, Body body)
{
    try {
        const sentencepiece::util::Status status = body();
        return status.ok() ? 0 : fail(error, status.ToString().c_str());
    } catch (const std::exception &x) {
        return fail(error, x.what());
    } catch (...) {
        return fail(error, "SentencePiece failed without a reason");
    }
}

char *copy_text(const std::string &from, size_t *n_bytes)
{
    *n_bytes = from.size();
    char *bytes = static_cast<char *>(xalloc(from.size() + 1));
    std::memcpy(bytes, from.data(), from.size());
    return bytes;
}

/* Training lines by callback, one at a time. */
class CallbackLines : public sentencepiece::SentenceIterator
{
  public:
    CallbackLines(spm_shim_next *next, void *context) : next_(next), context_(context)
    {
        Next();
    }
    bool done() const override
    {
        return done_;
    }
    void Next() override
    {
        const char *line = nullptr;
        size_t n_bytes = 0;
        done_ = next_(context_, &line, &n_bytes) == 0;
        if (!done_)
            value_.assign(line, n_bytes);
    }
    const std::string &value() const override
    {
        return value_;
    }
    sentencepiece::util::Status status() const override
    {
        return sentencepiece::util::Status();
    }

  private:
    spm_shim_next *next_;
    void *context_;
    bool done_ = false;
    std::string value_;
};

} // namespace

int spm_shim_open(const void *bytes, size_t n_bytes, struct spm_shim **out, char *error)
{
    *out = nullptr;
    std::unique_ptr<spm_shim> s(new (std::nothrow) spm_shim);
    if (!s)
        return fail(error, "out of memory");
    const int status = guarded(error, [&] {
        return s->processor.LoadFromSerializedProto(
            absl::string_view(static_cast<const char *>(bytes), n_bytes));
    });
    if (status == 0)
        *out = s.release();
    return status;
}

void spm_shim_close(struct spm_shim *s)
{
    delete s;
}

int spm_shim_size(const struct spm_shim *s)
{
    return s->processor.GetPieceSize();
}

int spm_shim_encode(const struct spm_shim *s, const char *text, size_t n_bytes, int32_t **ids,
                    size_t *n_ids, char *error)
{
    std::vector<int> found;
    const int status = guarded(
        error, [&] { return s->processor.Encode(absl::string_view(text, n_bytes), &found); });
    if (status != 0)
        return status;
    *n_ids = found.size();
    *ids = static_cast<int32_t *>(xalloc_array(found.size(), sizeof **ids));
    for (size_t i = 0; i < found.size(); i++)
        (*ids)[i] = found[i];
    return 0;
}

int spm_shim_decode(const struct spm_shim *s, const int32_t *ids, size_t n_ids, char **text,
                    size_t *n_bytes, char *error)
{
    std::string found;
    const int status = guarded(
        error, [&] { return s->processor.Decode(std::vector<int>(ids, ids + n_ids), &found); });
    if (status == 0)
        *text = copy_text(found, n_bytes);
    return status;
}

int32_t spm_shim_piece_id(const struct spm_shim *s, const char *piece)
{
    return s->processor.PieceToId(piece);
}

int spm_shim_piece(const struct spm_shim *s, int32_t id, char **text, size_t *n_bytes, char *error)
{
    return guarded(error, [&] {
        *text = copy_text(s->processor.IdToPiece(id), n_bytes);
        return sentencepiece::util::Status();
    });
}

int spm_shim_train(const struct spm_shim_setting *settings, size_t n_settings, spm_shim_next *next,
                   void *context, char **model, size_t *n_bytes, char *error)
{
    std::string bytes;
    const int status = guarded(error, [&] {
        std::unordered_map<std::string, std::string> args;
        for (size_t i = 0; i < n_settings; i++)
            args[settings[i].name] = settings[i].value;
        CallbackLines lines(next, context);
        return sentencepiece::SentencePieceTrainer::Train(args, &lines, &bytes);
    });
    if (status == 0)
        *model = copy_text(bytes, n_bytes);
    return status;
}
