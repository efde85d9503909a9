package dirty_test

import (
	"go/ast"
	"go/build"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needsLater are the exceptions of TestFileOrder: for each file the names from later
// files that it needs. Most of them are circles: a value may hold values of any
// type.
var needsLater = map[string]string{
	"protocol.go":   "ErrUnknownType",
	"errors.go":     "Header Kind", // fields of errors
	"header.go":     "RawValue",    // the payload of a Frame
	"tlv_encode.go": "plan planOf",
	"tlv_decode.go": "plan planOf",
	"tlv_typed.go": "encodeSlice decodeSlice encodeArray decodeArray encodeBytes decodeBytes" +
		" encodeByteArray decodeByteArray isByte encodeMap decodeMap",
	"tlv_fast.go":     "encoder builder",     // methods of theirs, for speed
	"tlv_fast_map.go": "encoder sortEntries", // likewise
	"reader.go":       "waiting findRawRead", // for memory
}

// typeCheck parses and checks the sources of the package, without its tests.
var typeCheck = sync.OnceValues(func() (*checked, error) {
	c := &checked{info: &types.Info{Uses: map[*ast.Ident]types.Object{}}, fset: token.NewFileSet()}
	names, err := filepath.Glob("*.go")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(c.fset, name, nil, 0)
		if err != nil {
			return nil, err
		}
		c.names = append(c.names, name)
		if ok, err := build.Default.MatchFile(".", name); err != nil || !ok { // for another system
			continue
		}
		c.files = append(c.files, f)
	}
	build.Default.CgoEnabled = false // or importing net needs a C compiler for GOARCH
	config := types.Config{Importer: importer.ForCompiler(c.fset, "source", nil)}
	c.pkg, err = config.Check("dirty", c.fset, c.files, c.info)
	return c, err
})

type checked struct {
	pkg   *types.Package
	info  *types.Info
	fset  *token.FileSet
	names []string
	files []*ast.File
}

// constantsOf returns the constants of a type of the package, by name. It reads them
// from the sources, so that a new one is always among them.
func constantsOf(t *testing.T, typ string) map[string]uint8 {
	t.Helper()
	c, err := typeCheck()
	require.NoError(t, err)
	found := map[string]uint8{}
	for _, name := range c.pkg.Scope().Names() {
		value, ok := c.pkg.Scope().Lookup(name).(*types.Const)
		if !ok {
			continue
		}
		if named, ok := value.Type().(*types.Named); ok && named.Obj().Name() == typ {
			n, ok := constant.Uint64Val(value.Val())
			require.True(t, ok)
			found[name] = uint8(n)
		}
	}
	require.NotEmpty(t, found)
	return found
}

// TestFileOrder checks that the package can be read in the order of the list in its
// doc comment: no file needs a later one.
func TestFileOrder(t *testing.T) {
	c, err := typeCheck()
	require.NoError(t, err)
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	order := []string{"doc.go"}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+\.go) `).FindAllStringSubmatch(string(doc), -1) {
		order = append(order, m[1])
	}
	require.ElementsMatch(t, c.names, order, "doc.go lists every file")
	for ident, object := range c.info.Uses {
		if object.Parent() != c.pkg.Scope() {
			continue
		}
		user, home := c.fset.Position(ident.Pos()).Filename, c.fset.Position(object.Pos()).Filename
		if slices.Index(order, home) <= slices.Index(order, user) || slices.Contains(strings.Fields(needsLater[user]), object.Name()) {
			continue
		}
		assert.Fail(t, "wrong order", "%s needs %s of %s, which is later", user, object.Name(), home)
	}
}
