// Package protobuf is the code that protoc, protoc-gen-go and vtprotobuf
// generate for the values.
package protobuf

//go:generate sh generate.sh
