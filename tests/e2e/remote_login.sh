# https with a certificate of our own, and logins: by netrc, by a token in the environment. Nothing
# of them is kept, and TLS is never left unchecked.
. "$2/tests/e2e/e2e_lib.sh"
command -v openssl >/dev/null || skip "there is no openssl"
probe_programs
for name in 127.0.0.1 192.0.2.1; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext "subjectAltName=IP:$name" \
        -keyout "$name.key" -out "$name.pem" 2>openssl.txt || { cat openssl.txt >&2; die "no certificate"; }
done
printf 'me:%s\n' "$(openssl passwd -apr1 hunter2)" >users
nginx_start more <<EOF
listen 127.0.0.1:PORT1 ssl;
ssl_certificate $PWD/127.0.0.1.pem;
ssl_certificate_key $PWD/127.0.0.1.key;
location ^~ /basic/ {
    auth_basic cache; auth_basic_user_file $PWD/users;
    dav_methods PUT; create_full_put_path on; client_body_temp_path $PWD/srv/.incoming;
}
location ^~ /token/ {
    if (\$http_authorization != "Bearer s3cret") { return 401; }
    dav_methods PUT; create_full_put_path on; client_body_temp_path $PWD/srv/.incoming;
}
} server {
listen 127.0.0.1:PORT2 ssl;
ssl_certificate $PWD/192.0.2.1.pem;
ssl_certificate_key $PWD/192.0.2.1.key;
root $PWD/srv;
EOF
TLS=$((PORT + 1)) OTHER=$((PORT + 2))
echo 'some text' >in.txt
manifest() { # URL MORE
    cat >m.yaml <<EOF
fmforge: 1
name: m
remote: { url: "$1", mode: readwrite, timeout: 20${2:+, $2} }
stages: { one: { run: probe, inputs: { text: in.txt } } }
EOF
}
# shared: what one store sends the next one fetches.
shared() {
    rm -rf .fmforge
    expect 0 fm run m.yaml
    has stdout.txt 'm: 1 executed'
    [ "$(grep -vc '^one\|^  ' stderr.txt)" = 0 ] || { cat stderr.txt >&2; die "$1: it says something"; }
    rm -rf .fmforge
    expect 0 fm run m.yaml
    has stdout.txt 'm: 0 executed, 1 fetched'
}
alone() { # MESSAGE
    rm -rf .fmforge
    expect 0 fm run m.yaml
    has stdout.txt 'm: 1 executed'
    has stderr.txt "$1"
    has stderr.txt 'left alone for the rest of this run'
}

manifest "https://127.0.0.1:$TLS/tls" 'ca: 127.0.0.1.pem'
shared https
manifest "https://127.0.0.1:$TLS/tls"
alone 'SSL certificate problem'
manifest "https://127.0.0.1:$OTHER/tls" 'ca: 192.0.2.1.pem' # a certificate for somebody else
alone "GET https://127.0.0.1:$OTHER/tls/ac/"
manifest "https://127.0.0.1:$TLS/tls" 'ca: no.pem'
alone 'remote `ca`: no.pem cannot be read'
manifest "http://127.0.0.1:$TLS/tls" # not https: nginx says 400
alone 'status 400'

mkdir home
echo 'machine 127.0.0.1 login me password hunter2' >home/.netrc
manifest "$URL/basic" 'netrc: home/.netrc'
shared netrc
manifest "$URL/basic" 'netrc: ~/.netrc'
rm -rf .fmforge
HOME=$PWD/home expect 0 fm run m.yaml
has stdout.txt 'm: 0 executed, 1 fetched'
manifest "$URL/basic"
alone 'status 401: it wants a login'
echo 'machine 127.0.0.1 login me password wrong' >home/.netrc
manifest "$URL/basic" 'netrc: home/.netrc'
alone 'status 401'

export CACHE_TOKEN=s3cret
manifest "$URL/token" 'token: CACHE_TOKEN'
shared token
manifest "https://127.0.0.1:$TLS/token" 'token: CACHE_TOKEN, ca: 127.0.0.1.pem'
rm -rf .fmforge
expect 0 fm run m.yaml
has stdout.txt 'm: 0 executed, 1 fetched'
CACHE_TOKEN=other alone 'status 401'
rm -rf .fmforge
expect 0 fm run m.yaml
if grep -rqE 's3cret|hunter2' .fmforge srv out reports stdout.txt stderr.txt 2>/dev/null; then
    die "a login was kept"
fi
# A proxy of the environment is not asked.
rm -rf .fmforge
http_proxy=http://127.0.0.1:1 https_proxy=http://127.0.0.1:1 expect 0 fm run m.yaml
has stdout.txt 'm: 0 executed, 1 fetched'
echo ok
