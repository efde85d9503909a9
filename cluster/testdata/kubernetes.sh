#!/usr/bin/env bash
# Builds the programs that TestCoreDNS and TestKubernetes run, into a folder:
#
#     bash cluster/testdata/kubernetes.sh FOLDER
#
# The versions need at most Go 1.25, and agree with each other: this CoreDNS is made for
# this Kubernetes and this etcd.
set -euo pipefail

kubernetes=1.34.4
coredns=1.14.0
etcd=3.6.7

mkdir -p "$1"
programs=$(realpath "$1")
module=$(mktemp -d)
trap 'rm -r "$module"' EXIT
cd "$module"
export GOWORK=off
go mod init programs
go mod edit -require "k8s.io/kubernetes@v$kubernetes" -require "github.com/coredns/coredns@v$coredns" \
	-require "go.etcd.io/etcd/server/v3@v$etcd"
# Kubernetes takes its libraries from its own tree. They are published too.
mod=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
for library in $(sed -n 's|^\t\(.*\) => ./staging/.*|\1|p' "$mod"); do
	go mod edit -replace "$library=$library@v0.${kubernetes#1.}"
done
go build -mod mod -o "$programs/" k8s.io/kubernetes/cmd/kube-apiserver \
	k8s.io/kubernetes/cmd/kube-controller-manager github.com/coredns/coredns
go build -mod mod -o "$programs/etcd" go.etcd.io/etcd/server/v3
