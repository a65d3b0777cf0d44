#!/usr/bin/env bash
# An authority of its own and a certificate for PostgreSQL and for the object store, made once into folder $1.
set -euo pipefail
cd "$1"
if [ -e ca.crt ]; then exit 0; fi
new=$(mktemp -d)
openssl req -x509 -newkey rsa:3072 -nodes -days 3650 -subj "/CN=Lethe compose" -keyout "$new/ca.key" -out "$new/ca.crt"
for name in postgres objects; do
    openssl req -newkey rsa:3072 -nodes -subj "/CN=$name" -keyout "$new/$name.key" -out "$new/$name.csr"
    printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\n' "$name" > "$new/$name.ext"
    openssl x509 -req -days 3650 -in "$new/$name.csr" -CA "$new/ca.crt" -CAkey "$new/ca.key" -CAcreateserial -extfile "$new/$name.ext" -out "$name.crt"
done
mkdir -p objects
mv objects.crt objects/public.crt
install -m 0644 "$new/objects.key" objects/private.key
install -m 0600 -o 999 -g 999 "$new/postgres.key" postgres.key   # the user of the image postgres
cat /etc/ssl/certs/ca-certificates.crt "$new/ca.crt" > bundle.crt
chmod 0644 bundle.crt ./*.crt objects/public.crt
install -m 0644 "$new/ca.crt" ca.crt
rm -rf "$new"                                                    # the authority's key is not kept
