#!/usr/bin/env bash
# Lethe's buckets in the containers' object store, and a user for each use, of that bucket alone:
#   lethe-evidence      puts and reads heads of the ledger, results and reports in `lethe`; deletes nothing there
#   lethe-archive       writes and expires in `lethe-archive`; nobody but the store's root may shorten a lock
#   lethe-archive-read  gets objects of `lethe-archive`
#   lethe-requests      in `lethe-bundles`, `lethe-proofs` and `lethe-intake`: what requests of persons bring and get; in `lethe-lists`: what is
#                       internal of lists of processors; deletes all of it in time
# The store's root is given to this script only, never to a worker. Object lock exists from a bucket's creation only.
set -euo pipefail
home=$(mktemp -d)
mkdir -p "$home/certs/CAs"
cp "${CERTIFICATES:-/certificates}/ca.crt" "$home/certs/CAs/"
mc() { command mc --config-dir "$home" --quiet "$@"; }

# policy NAME "BUCKET ..." ON_BUCKET ON_OBJECTS
policy() {
    local name=$1 on_bucket=$3 on_objects=$4 buckets="" objects="" bucket
    for bucket in $2; do
        buckets+="${buckets:+, }\"arn:aws:s3:::$bucket\""
        objects+="${objects:+, }\"arn:aws:s3:::$bucket/*\""
    done
    cat > "$home/$name.json" <<JSON
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": [$on_bucket], "Resource": [$buckets]},
  {"Effect": "Allow", "Action": [$on_objects], "Resource": [$objects]}
]}
JSON
    mc admin policy create objects "$name" "$home/$name.json"
}

mc mb --ignore-existing --with-lock objects/lethe
mc mb --ignore-existing --with-lock objects/lethe-archive
policy lethe-evidence lethe '"s3:GetBucketLocation", "s3:ListBucket"' '"s3:PutObject", "s3:GetObject"'
policy lethe-archive lethe-archive \
    '"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetLifecycleConfiguration"' \
    '"s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObjectRetention", "s3:GetObjectRetention"'
policy lethe-archive-read lethe-archive '"s3:GetBucketLocation"' '"s3:GetObject", "s3:GetObjectVersion"'

for bucket in lethe-bundles lethe-proofs lethe-intake lethe-lists; do
    mc mb --ignore-existing objects/$bucket
    mc version enable objects/$bucket
done
policy lethe-requests "lethe-bundles lethe-proofs lethe-intake lethe-lists" \
    '"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning"' \
    '"s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"'

user() {
    mc admin user add objects "$1" "$2"
    # Attaching what is attached is an error to mc: what counts is that it is.
    mc admin policy attach objects "$1" --user "$1" || [[ $(mc admin policy entities objects --user "$1") == *"Policies:"*"$1"* ]]
}
user lethe-evidence "$EVIDENCE_SECRET_KEY"
user lethe-archive "$ARCHIVE_SECRET_KEY"
user lethe-archive-read "$ARCHIVE_READ_SECRET_KEY"
user lethe-requests "$REQUESTS_SECRET_KEY"
