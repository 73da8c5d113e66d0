#ifndef FMFORGE_PROVENANCE_LEDGER_SSH_H
#define FMFORGE_PROVENANCE_LEDGER_SSH_H

/*
 * Signatures of git's SSH form (git's gpg.format=ssh): OpenSSH's ssh-keygen makes and checks them,
 * in the namespace "git". The form is openssh-portable's PROTOCOL.sshsig; a list of signers is the
 * ALLOWED SIGNERS of ssh-keygen(1). ssh-keygen is never let ask for anything: it has no terminal
 * and no SSH_ASKPASS.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/err.h"

/* Signs with a key: a private key without passphrase, or a key, also its public half, that
 * ssh-agent holds. `signature` (initialised by the caller, cleared first) gets the armored text
 * without a newline at its end. ERR_MISSING without ssh-keygen, ERR_LIMIT when it takes longer than
 * 30 s (a key that must be touched), ERR_IO with ssh-keygen's words and what to do. */
int ssh_sign(const char *key, const void *bytes, size_t n_bytes, struct buf *signature,
             struct err *e) MUST_USE;

struct ssh_verdict {
    bool good;
    char *by;     /* who, as the list names them; NULL unless good */
    char *key;    /* "ED25519 key SHA256:..."; NULL when the bytes are not what was signed */
    char *reason; /* NULL when good */
};

/* Checks a signature of bytes against a list of signers, at a time (validity of listed keys). An
 * error only when it cannot be checked. Release the verdict also after an error. */
int ssh_check(const char *signers, const struct buf *bytes, const struct buf *signature,
              int64_t unix_time, struct ssh_verdict *out, struct err *e) MUST_USE;
void ssh_verdict_release(struct ssh_verdict *v); /* safe on zeroed and twice */

#endif
