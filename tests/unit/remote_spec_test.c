#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/remote_spec.h"

static int read_text(const char *text, struct yaml_doc *d, struct remote_spec *out, struct err *e)
{
    assert_int_equal(yaml_doc_parse(d, "m.yaml", text, strlen(text), e), 0);
    return remote_spec_read(d, doc_get(d->root, "remote"), out, e);
}

static void accepts(const char *text, const char *url, bool writes, int64_t timeout, int64_t wait)
{
    struct yaml_doc d;
    struct remote_spec s;
    struct err e = {0};
    if (read_text(text, &d, &s, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(s.n_url, strlen(url));
    assert_memory_equal(s.url, url, strlen(url));
    assert_int_equal(s.writes, writes);
    assert_int_equal(s.timeout_seconds, timeout);
    assert_int_equal(s.wait_seconds, wait);
    yaml_doc_release(&d);
}

/* And the message does not repeat `secret`, where that is given. */
static void refuses(const char *text, const char *message, const char *secret)
{
    struct yaml_doc d;
    struct remote_spec s;
    struct err e = {0};
    assert_int_equal(read_text(text, &d, &s, &e), ERR_CONFIG);
    if (!strstr(e.text, message))
        fail_msg("expected \"%s\" in \"%s\"", message, e.text);
    if (secret && strstr(e.text, secret))
        fail_msg("\"%s\" is in \"%s\"", secret, e.text);
    yaml_doc_release(&d);
}

static void a_remote_is_read(void **state)
{
    (void)state;
    accepts("remote: {url: http://h}", "http://h", false, 3, 30);
    accepts("remote: {url: \"https://h.example:8443/a/b//\", mode: readwrite}",
            "https://h.example:8443/a/b", true, 3, 30);
    accepts("remote: {url: \"http://[::1]:8080/x\", mode: read, timeout: 600, wait: 0}",
            "http://[::1]:8080/x", false, 600, 0);
    accepts("remote: {url: https://h, netrc: ~/.netrc, ca: a/b.pem}", "https://h", false, 3, 30);
    accepts("remote: {url: http://localhost:80/x, token: CACHE_TOKEN}", "http://localhost:80/x",
            false, 3, 30);
    struct remote_spec none;
    struct yaml_doc d;
    struct err e = {0};
    assert_int_equal(read_text("name: x", &d, &none, &e), 0);
    assert_null(none.url);
    yaml_doc_release(&d);
}

static void wrong_values_have_a_place(void **state)
{
    (void)state;
    refuses("remote: http://h", "m.yaml:1:9: remote must be a mapping", NULL);
    refuses("remote: {mode: read}", "m.yaml:1:9: remote has no `url`", NULL);
    refuses("remote: {urll: http://h}", "did you mean `url`?", NULL);
    refuses("remote:\n  url: http://h\n  mode: write",
            "m.yaml:3:9: remote `mode`: expected read "
            "or readwrite, found `write`",
            NULL);
    refuses("remote: {url: http://h, mode: [read]}", "found a list", NULL);
    refuses("remote: {url: http://h, timeout: 0}", "whole seconds from 1 to 600, found `0`", NULL);
    refuses("remote: {url: http://h, timeout: 601}", "found `601`", NULL);
    refuses("remote: {url: http://h, timeout: 1.5}", "found `1.5`", NULL);
    refuses("remote: {url: http://h, wait: -1}", "whole seconds from 0", NULL);
    refuses("remote: {url: http://h, wait: 86401}", "found `86401`", NULL);
    refuses("remote: {url: http://h, ca: \"\"}", "the path of a file", NULL);
    refuses("remote: {url: http://h, timeout: $t}", "remote takes no variables", NULL);
    static const char *const urls[] = {
        "ftp://h",     "h/path",     "http:/h",        "http://",     "http:///x",
        "http://h:0",  "http://h:x", "http://h:99999", "http://h:",   "http://[::1",
        "http://h/?a", "http://h/#", "http://h/a b",   "http://h\\n", "file:///etc"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char *text = xasprintf("remote: {url: \"%s\"}", urls[i]);
        refuses(text, "m.yaml:1:15: remote `url`: expected http://HOST", NULL);
        xfree(text);
    }
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add_text(&b, "remote: {url: http://h/");
    for (size_t i = strlen("http://h/"); i < REMOTE_URL_BYTES; i++)
        buf_add_char(&b, 'x');
    char *most = xasprintf("%s}", buf_text(&b)), *more = xasprintf("%sx}", buf_text(&b));
    struct yaml_doc d;
    struct remote_spec s;
    struct err e = {0};
    assert_int_equal(read_text(most, &d, &s, &e), 0);
    assert_int_equal(s.n_url, REMOTE_URL_BYTES);
    yaml_doc_release(&d);
    refuses(more, "remote `url`: expected http://HOST", NULL);
    buf_release(&b);
    xfree(most);
    xfree(more);
}

static void a_manifest_holds_no_login(void **state)
{
    (void)state;
    refuses("remote: {url: \"http://me:hunter2@h/x\"}", "a login does not belong into a manifest",
            "hunter2");
    refuses("remote: {url: \"https://me:hun/ter2@h/x\"}", "remote `url`", "ter2");
    refuses("remote: {url: https://h, token: abc-hunter2}", "the name of an environment variable",
            "hunter2");
    refuses("remote: {url: https://h, token: 5hunter2}", "environment variable", "hunter2");
    refuses("remote: {url: https://h, token: \"\"}", "environment variable", NULL);
    refuses("remote: {url: https://h, token: [T]}", "environment variable", NULL);
    refuses("remote: {url: https://h, password: hunter2}", "password", "hunter2");
    refuses("remote: {url: http://h, token: T}", "everyone on the way could read it", NULL);
    refuses("remote: {url: http://h, netrc: n}", "expected https://", NULL);
    refuses("remote: {url: http://localhost.evil.example, netrc: n}", "expected https://", NULL);
    refuses("remote: {url: https://h, token: T, netrc: n}", "one login is enough", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_remote_is_read),
        cmocka_unit_test(wrong_values_have_a_place),
        cmocka_unit_test(a_manifest_holds_no_login),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
