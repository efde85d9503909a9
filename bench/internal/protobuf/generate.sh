# Generates the code of values.proto. Needs protoc, which no Go module has.
set -eu
messages=
for name in Request Kwargs Model Rows Row Floats Strings Blob Orders Order Customer Item; do
	messages="$messages,pool=github.com/gunicorn-go/dirty/bench/internal/protobuf.$name"
done
protoc -I . \
	--plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" --go_out=. --go_opt=paths=source_relative \
	--plugin=protoc-gen-go-vtproto="$(go tool -n protoc-gen-go-vtproto)" --go-vtproto_out=. \
	--go-vtproto_opt="paths=source_relative,features=marshal+unmarshal+size+pool$messages" \
	values.proto
