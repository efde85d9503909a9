package dirty_test

//lint:file-ignore SA5008 odd tags are what is tested
//lint:file-ignore U1000 so are fields that are not exported

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The types of the parity tests. These compare with encoding/json: which fields there
// are, their names, their order, and which are left out.
type (
	sBase  struct{ X, Y int }
	sOther struct {
		X int
		Z string `json:"z"`
	}
	sTagX struct {
		Q int `json:"X"`
	}
	sDeep  struct{ sMid }
	sMid   struct{ sBase }
	sName  string
	SName  string
	sIface interface{ Do() }
	sLoop  struct {
		*sLoop
		N int
	}
	sList struct {
		Next *sList `json:"next,omitempty"`
		V    int
	}
	sTree struct {
		Kids []sTree          `json:"kids"`
		By   map[string]sTree `json:"by,omitempty"`
	}
	sTwiceL  struct{ sBase }
	sTwiceR  struct{ sBase }
	sZero    struct{ A int }
	sZeroP   struct{ A int }
	sZeroer  interface{ IsZero() bool }
	sUnexp   struct{ X int }
	SExp     struct{ X int }
	sAnyBase struct{ V any }
)

func (z sZero) IsZero() bool   { return z.A == 7 }
func (z *sZeroP) IsZero() bool { return z.A == 7 }

// parityValues are structs of all shapes, with values that show each rule.
var parityValues = []any{
	// Names and visibility.
	struct {
		A int
		B string `json:"b"`
		c int
		D int  `json:"-"`
		E int  `json:"-,"`
		F bool `json:",omitempty"`
		G int  `json:"日本"`
		H int  `json:"a b.c/d$"`
		I int  `other:"x"`
	}{A: 1, B: "t", c: 1, D: 2, E: 3, G: 4, H: 5},
	struct {
		Z int `json:"a"`
		A int `json:"z"`
	}{1, 2},
	struct {
		F int `json:"a\"b"`
	}{1}, // no valid name: the field's own
	struct {
		F int `json:"a\\b"`
	}{1}, //
	struct {
		F int `json:"a\tb"`
	}{1}, //
	struct {
		F int `json:"\xff"`
	}{1}, //
	struct {
		F int `json:",unknown"`
	}{}, //
	conflict,
	struct {
		X int
		Y int `json:"X"` // the tag wins
	}{1, 2},
	struct{}{}, struct{ a int }{1}, &struct{ A int }{1}, (*struct{ A int })(nil),

	// Embedding.
	struct {
		sBase
		X string
	}{sBase{1, 2}, "outer"},
	struct {
		X string
		sBase
	}{"outer", sBase{1, 2}},
	struct {
		sBase
		sOther
	}{sBase{1, 2}, sOther{3, "z"}}, // X twice at one depth: neither
	struct {
		sBase
		sTagX
	}{sBase{1, 2}, sTagX{3}}, // a tag decides
	struct {
		*sBase
		*sOther
	}{&sBase{1, 2}, nil},
	struct{ *sBase }{},
	struct{ sDeep }{sDeep{sMid{sBase{1, 2}}}},
	struct {
		sDeep
		sOther
	}{sDeep{sMid{sBase{1, 2}}}, sOther{3, "z"}},
	struct {
		sTwiceL
		sTwiceR
	}{}, // sBase twice at one depth
	struct {
		sTwiceL
		sTwiceR
		sBase
	}{sBase: sBase{5, 6}},
	struct {
		SName
		sName
		A int
	}{"n", "hidden", 1},
	struct{ *SName }{some(SName("n"))}, struct{ *SName }{},
	struct{ *SExp }{&SExp{4}}, struct{ *SExp }{},
	struct{ *sUnexp }{&sUnexp{4}},
	struct {
		SExp `json:"e"`
	}{SExp{4}},
	struct {
		*SExp `json:"e"`
	}{},
	struct {
		sUnexp `json:"u"`
	}{sUnexp{4}},
	struct {
		sUnexp `json:",omitempty"`
	}{sUnexp{4}},
	struct {
		SExp `json:"-"`
	}{},
	struct{ error }{}, struct{ fmt.Stringer }{}, struct{ sIface }{},
	struct{ sAnyBase }{sAnyBase{map[string]any{"a": nil}}},
	struct{ any }{5},
	sLoop{&sLoop{nil, 1}, 2},
	sList{&sList{&sList{nil, 3}, 2}, 1},
	sTree{Kids: []sTree{{}, {Kids: []sTree{}}}, By: map[string]sTree{"b": {}, "a": {}}},

	// omitempty.
	emptiable{}, filled, &filled,
	struct {
		A []int          `json:"a,omitempty"`
		B map[string]int `json:"b,omitempty"`
		C any            `json:"c,omitempty"`
		D [0]int         `json:"d,omitempty"`
		E [1]int         `json:"e,omitempty"`
		F float64        `json:"f,omitempty"`
		G *sBase         `json:"g,omitempty"`
	}{[]int{}, map[string]int{}, 0, [0]int{}, [1]int{}, 0, &sBase{}},

	// omitzero.
	struct {
		A time.Time      `json:"a,omitzero"`
		B sBase          `json:"b,omitzero"`
		C sZero          `json:"c,omitzero"`
		D sZero          `json:"d,omitzero"`
		E []int          `json:"e,omitzero"`
		F map[string]int `json:"f,omitzero"`
		G [2]int         `json:"g,omitzero"`
		H *sZero         `json:"h,omitzero"`
		I *sZero         `json:"i,omitzero"`
		J *sZero         `json:"j,omitzero"`
		K any            `json:"k,omitzero"`
		L float64        `json:"l,omitzero"`
		M []int          `json:"m,omitempty,omitzero"`
	}{C: sZero{7}, E: []int{}, I: &sZero{7}, J: &sZero{1}, M: []int{}},
	struct {
		A sZeroP `json:",omitzero"`
	}{sZeroP{7}}, // a method of the pointer, of what has no address
	&struct {
		A sZeroP `json:",omitzero"`
	}{sZeroP{7}},
	struct {
		A *sZeroP `json:",omitzero"`
	}{&sZeroP{7}},
	map[string]struct {
		A sZeroP `json:",omitzero"`
	}{"k": {sZeroP{7}}},
	struct {
		A sZeroer `json:",omitzero"`
	}{},
	struct {
		A sZeroer `json:",omitzero"`
	}{(*sZeroP)(nil)},
	struct {
		A sZeroer `json:",omitzero"`
	}{&sZeroP{7}},
	struct {
		A sZeroer `json:",omitzero"`
	}{&sZeroP{1}},
	struct {
		A float64 `json:",omitzero"`
	}{},
}

type emptiable struct {
	B   bool           `json:",omitempty"`
	I   int8           `json:",omitempty"`
	U   uint16         `json:",omitempty"`
	F   float32        `json:",omitempty"`
	S   string         `json:",omitempty"`
	P   *int           `json:",omitempty"`
	A   any            `json:",omitempty"`
	L   []string       `json:",omitempty"`
	M   map[int]string `json:",omitempty"`
	R   [2]bool        `json:",omitempty"`
	T   sBase          `json:",omitempty"`
	Ptr *sBase         `json:",omitempty"`
}

var filled = emptiable{true, -1, 2, 1.5, "s", some(0), "x", []string{"", "a"}, map[int]string{1: "b", 0: "a"},
	[2]bool{true}, sBase{1, 2}, &sBase{3, 4}}

// conflict has two fields with the same tag, so that neither counts. It is made with
// reflection because go vet complains about such a type.
var conflict = reflect.Zero(reflect.StructOf([]reflect.StructField{
	{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
	{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
	{Name: "C", Type: reflect.TypeFor[int]()},
})).Interface()

// TestStructParityEncode encodes every type. The result must be that of encoding/json.
func TestStructParityEncode(t *testing.T) {
	for _, v := range parityValues {
		t.Run(fmt.Sprintf("%T", v), func(t *testing.T) {
			text, err := json.Marshal(v)
			require.NoError(t, err)
			var b []byte
			require.NoError(t, calmly(t, func() error { b, err = dirty.Marshal(v); return err }))
			require.NoError(t, dirty.Validate(b))
			var got any
			require.NoError(t, dirty.DecodeOptions{UseDict: true}.Unmarshal(b, &got))
			assert.Equal(t, fromJSON(t, string(text)), got, "json: %s", text)
		})
	}
}

// TestStructParityDecode decodes documents into every type. The result must be that
// of encoding/json.
func TestStructParityDecode(t *testing.T) {
	docs := []string{
		`null`, `{}`, `{"X":1}`, `{"x":1}`, `{"X":null,"Y":2}`, `{"X":"s"}`, `{"x":1,"X":"s","y":5}`, `{"N":1,"n":2}`,
		`{"A":1,"b":"two","unknown":{"A":[1]},"-":5,"D":1}`, `{"a":1,"B":"x","f":true,"F":true}`,
		`{"V":{"a":[null,1,"s",{"b":2}]}}`, `{"next":{"next":{"V":1},"V":2},"v":3}`, `{"kids":[{},{"kids":null}],"by":{"a":{"kids":[]}}}`,
		`{"kids":[1]}`, `{"z":"t","Y":1}`, `{"e":{"X":1},"u":{"x":2}}`, `{"SName":"n","sname":"m"}`, `{"I":128}`, `{"I":-128,"U":65535}`,
		`{"U":-1}`, `{"U":65536}`, `{"B":1}`, `{"S":1}`, `{"S":null,"L":null,"M":null,"R":null,"T":null,"Ptr":null,"P":null,"A":null,"B":null}`,
		`{"L":["a",null,""],"M":{"5":"x","-3":"y"},"R":[true],"T":{"X":9},"Ptr":{"y":8},"P":7,"A":[]}`, `{"M":{"a":"x"}}`, `{"L":{}}`,
		`{"M":[]}`, `{"T":[]}`, `{"Ptr":5}`, `{"P":"x"}`, `[]`, `5`, `"s"`, `true`,
		`{"F":1.5,"f":2.5}`, `{"F":1e300}`, `{"F":3}`, `{"日本":1}`, `{"a b.c/d$":3}`, `{"A B.C/D$":4}`, `{"":1}`,
	}
	for _, v := range parityValues {
		typ := reflect.TypeOf(v)
		if typ.Kind() == reflect.Pointer {
			continue
		}
		text, err := json.Marshal(v)
		require.NoError(t, err)
		for _, doc := range append(docs, string(text)) {
			t.Run(typ.String()+"/"+doc, func(t *testing.T) {
				b, err := dirty.Marshal(fromJSON(t, doc))
				require.NoError(t, err)
				want, got := reflect.New(typ), reflect.New(typ)
				wantErr := json.Unmarshal([]byte(doc), want.Interface())
				gotErr := calmly(t, func() error { return dirty.Unmarshal(b, got.Interface()) })
				assert.Equal(t, wantErr == nil, gotErr == nil, "json: %v\ndirty: %v", wantErr, gotErr)
				if wantErr == nil && gotErr == nil {
					assert.Equal(t, jsonNumbers(want.Elem().Interface()), jsonNumbers(got.Elem().Interface()))
				}
			})
		}
	}
}

// jsonNumbers writes v by way of JSON, where an any holds the same number
// whether it is an int64 or a float64.
func jsonNumbers(v any) string {
	text, err := json.Marshal(v)
	return fmt.Sprintf("%s %v", text, err)
}

// TestStructFoldedNames decodes keys whose case differs from that of the field.
func TestStructFoldedNames(t *testing.T) {
	long := strings.Repeat("N", 70)
	type kelvin struct{ K, S, Σ int }
	type order struct{ Ab, AB, ab int }
	type quoted struct {
		A int `json:"aB"`
		B int `json:"Ab"`
	}
	longType := reflect.StructOf([]reflect.StructField{{Name: long, Type: reflect.TypeFor[int]()}})
	for _, tt := range []struct {
		dest any
		docs []string
	}{
		{kelvin{}, []string{`{"k":1}`, `{"\u212a":1}`, `{"s":1}`, `{"ſ":1}`, `{"σ":1}`, `{"ς":1}`}},
		{order{}, []string{`{"ab":1}`, `{"AB":1}`, `{"Ab":1}`, `{"aB":1}`, `{"aB":1,"AB":2,"Ab":3}`}},
		{quoted{}, []string{`{"ab":1}`, `{"AB":1}`, `{"Ab":1}`, `{"aB":1}`}},
		{reflect.Zero(longType).Interface(), []string{`{"` + long + `":1}`, `{"` + strings.ToLower(long) + `":1}`}},
	} {
		for _, doc := range tt.docs {
			t.Run(doc, func(t *testing.T) {
				b, err := dirty.Marshal(fromJSON(t, doc))
				require.NoError(t, err)
				want, got := reflect.New(reflect.TypeOf(tt.dest)), reflect.New(reflect.TypeOf(tt.dest))
				require.NoError(t, json.Unmarshal([]byte(doc), want.Interface()))
				require.NoError(t, dirty.Unmarshal(b, got.Interface()))
				assert.Equal(t, want.Elem().Interface(), got.Elem().Interface())
			})
		}
	}
}

// TestStructTags checks that a dirty tag replaces the whole json tag.
func TestStructTags(t *testing.T) {
	v := struct {
		A int `dirty:"a" json:"wrong"`
		B int `dirty:"" json:"wrong2"`
		C int `dirty:"-" json:"wrong3"`
		D int `dirty:"d" json:"-"`
		E int `dirty:",omitempty" json:"wrong4"`
		F int `dirty:"f,omitempty,omitzero"`
		G int `dirty:"g,omitzero" json:",omitempty"`
		H int `json:"h,omitempty" dirty:"H"`
		I int `dirty:"-,"`
		J int `json:"j,string"` // the option string is json's own
	}{1, 2, 3, 4, 0, 0, 0, 0, 5, 6}
	b, err := dirty.Marshal(v)
	require.NoError(t, err)
	assert.Equal(t, `{"a": 1, "B": 2, "d": 4, "H": 0, "-": 5, "j": 6}`, dirty.Diagnose(b))
	got := v
	got.A, got.B, got.D, got.I, got.J = 0, 0, 0, 0, 0
	require.NoError(t, dirty.Unmarshal(b, &got))
	assert.Equal(t, v, got)
}

// TestStructTagNames checks that no tag makes the encoding invalid.
func TestStructTagNames(t *testing.T) {
	for _, tag := range []reflect.StructTag{`dirty:"\xff"`, `json:"\xff"`, `dirty:"a\xed\xa0\x80"`} {
		typ := reflect.StructOf([]reflect.StructField{{Name: "F", Type: reflect.TypeFor[int](), Tag: tag}})
		b, err := dirty.Marshal(reflect.Zero(typ).Interface())
		if err == nil {
			assert.NoError(t, dirty.Validate(b), "%s: %x", tag, b)
		}
	}
}

func TestStructUnknownFields(t *testing.T) {
	type inner struct{ A int }
	type outer struct {
		In   inner
		List []inner
		Map  map[string]inner
	}
	strict := dirty.DecodeOptions{DisallowUnknownFields: true}
	for _, tt := range []struct{ doc, path, name string }{
		{`{"In":{"A":1},"other":5}`, "", "other"},
		{`{"In":{"A":1,"b c":5}}`, "In", `["b c"]`},
		{`{"List":[{"A":1},{"A":1,"x":1}]}`, "List[1]", "x"},
		{`{"Map":{"k":{"x":{}}}}`, "Map.k", "x"},
	} {
		t.Run(tt.doc, func(t *testing.T) {
			b, err := dirty.Marshal(fromJSON(t, tt.doc))
			require.NoError(t, err)
			var got outer
			require.NoError(t, dirty.Unmarshal(b, &got), "ignored by default")
			err = strict.Unmarshal(b, &got)
			var e *dirty.UnmarshalTypeError
			require.ErrorAs(t, err, &e)
			assert.ErrorIs(t, err, dirty.ErrUnknownField)
			assert.Equal(t, tt.path, e.Path)
			assert.Contains(t, e.Error(), tt.name)
			assert.Equal(t, dirty.KindString, e.Kind)
			assert.Equal(t, byte(dirty.KindString), b[e.Offset], "the offset is that of the key")
		})
	}
}

// TestUnmarshalEmbeddedPointer checks that a nil pointer to an embedded struct is set
// only when one of its fields is decoded. If its type is not exported, that is an
// error as in encoding/json.
func TestUnmarshalEmbeddedPointer(t *testing.T) {
	type dest struct {
		*SExp
		A int
	}
	var d dest
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, map[string]any{"A": 1}), &d))
	assert.Nil(t, d.SExp)
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, map[string]any{"X": 2}), &d))
	assert.Equal(t, dest{&SExp{2}, 1}, d)

	var hidden struct{ *sUnexp }
	err := dirty.Unmarshal(mustMarshal(t, map[string]any{"X": 2}), &hidden)
	var e *dirty.UnmarshalTypeError
	require.ErrorAs(t, err, &e)
	hidden.sUnexp = new(sUnexp)
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, map[string]any{"X": 2}), &hidden))
	assert.Equal(t, 2, hidden.X)
}

// fromJSON reads a JSON text into Dicts, lists, int64 and float64. It keeps the order
// of keys, and keys that come several times.
func fromJSON(t testing.TB, text string) any {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	v := jsonValue(t, dec)
	_, err := dec.Token()
	require.ErrorIs(t, err, io.EOF)
	return v
}

func jsonValue(t testing.TB, dec *json.Decoder) any {
	tok, err := dec.Token()
	require.NoError(t, err)
	switch tok := tok.(type) {
	case json.Number:
		if n, err := tok.Int64(); err == nil {
			return n
		}
		f, err := tok.Float64()
		require.NoError(t, err)
		return f
	case json.Delim:
		if tok == '[' {
			list := []any{}
			for dec.More() {
				list = append(list, jsonValue(t, dec))
			}
			_, err = dec.Token()
			require.NoError(t, err)
			return list
		}
		dict := dirty.Dict{}
		for dec.More() {
			key, err := dec.Token()
			require.NoError(t, err)
			dict = append(dict, dirty.Entry{Key: key.(string), Value: jsonValue(t, dec)})
		}
		_, err = dec.Token()
		require.NoError(t, err)
		return dict
	default:
		return tok
	}
}

// embedded is not exported, but a tag makes it a field where it is embedded.
type embedded struct{ X int }

// TestFieldsOf checks that Fields has the keys of Marshal, and that UnmarshalField
// stores what Unmarshal stores.
func TestFieldsOf(t *testing.T) {
	type inner struct {
		Deep   int
		Shadow string
	}
	type fields struct {
		A       int    `dirty:"a,required"`
		Dash    string `json:"-,"`
		Left    int    `dirty:"-"`
		private int
		inner
		Shadow   int    `json:"Shadow,omitempty"`
		Twice1   int    `dirty:"twice"`
		Twice2   int    `dirty:"twice"`
		Tagged   string `json:"a name"`
		embedded `dirty:"e"`
		At       time.Time `dirty:",required"`
	}
	_ = fields{private: 1}.private
	var names, required []string
	encoded, err := dirty.Marshal(fields{Shadow: 1})
	require.NoError(t, err)
	var dict dirty.Dict
	require.NoError(t, dirty.Unmarshal(encoded, &dict))
	for i, f := range dirty.FieldsOf(reflect.TypeFor[fields]()).All() {
		names = append(names, f.Name)
		if f.Required {
			required = append(required, f.Name)
		}
		at, ok := dirty.FieldsOf(reflect.TypeFor[fields]()).Find(strings.ToUpper(f.Name))
		assert.True(t, ok)
		assert.Equal(t, i, at)
	}
	var want []string
	for _, e := range dict {
		want = append(want, e.Key)
	}
	assert.Equal(t, want, names)
	assert.Equal(t, []string{"a", "At"}, required)

	full := fields{A: 1, Dash: "d", inner: inner{Deep: 2}, Shadow: 3, Tagged: "t", embedded: embedded{X: 4}, At: time.Unix(5, 0).UTC()}
	encoded, err = dirty.Marshal(full)
	require.NoError(t, err)
	var raws map[string]dirty.RawValue
	require.NoError(t, dirty.Unmarshal(encoded, &raws))
	var got fields
	for _, f := range dirty.FieldsOf(reflect.TypeFor[fields]()).All() {
		require.NoError(t, dirty.DecodeOptions{}.UnmarshalField(raws[f.Name], &got, f))
	}
	assert.Equal(t, full, got)

	f := dirty.FieldsOf(reflect.TypeFor[fields]()).All()[0]
	for _, dst := range []any{nil, 1, got, (*fields)(nil), new(inner), new(int)} {
		assert.ErrorIs(t, dirty.DecodeOptions{}.UnmarshalField(raws["a"], dst, f), dirty.ErrUnsupportedType)
	}
	assert.ErrorIs(t, dirty.DecodeOptions{}.UnmarshalField(raws["a"], &got, dirty.Field{}), dirty.ErrUnsupportedType)
	assert.ErrorIs(t, dirty.DecodeOptions{}.UnmarshalField([]byte{0xff}, &got, f), dirty.ErrMalformed)
	assert.ErrorIs(t, dirty.DecodeOptions{}.UnmarshalField(raws["a name"], &got, f), dirty.ErrTypeMismatch)
	var hidden struct{ *sUnexp } // as for Unmarshal
	hiddenField := dirty.FieldsOf(reflect.TypeOf(hidden)).All()[0]
	assert.ErrorIs(t, dirty.DecodeOptions{}.UnmarshalField(raws["a"], &hidden, hiddenField), dirty.ErrTypeMismatch)
	hidden.sUnexp = new(sUnexp)
	require.NoError(t, dirty.DecodeOptions{}.UnmarshalField(raws["a"], &hidden, hiddenField))
	assert.Equal(t, 1, hidden.X)

	assert.Empty(t, dirty.FieldsOf(reflect.TypeFor[int]()).All())
	_, ok := dirty.FieldsOf(reflect.TypeFor[int]()).Find("a")
	assert.False(t, ok)
}

// TestUnmarshalDuplicates checks that only the last of equal keys counts, and that the
// values of the others leave no trace.
func TestUnmarshalDuplicates(t *testing.T) {
	twice := func(first, last any) []byte {
		return mustMarshal(t, dirty.Dict{{Key: "A", Value: first}, {Key: "b", Value: 1}, {Key: "A", Value: last}})
	}
	type point struct{ X, Y int }
	for _, row := range []struct {
		first, last any
		dst         any
		want        any
	}{
		{map[string]any{"x": 1}, map[string]any{}, new(struct{ A map[string]int }), struct{ A map[string]int }{map[string]int{}}},
		{map[string]any{"X": 1}, map[string]any{"Y": 2}, new(struct{ A point }), struct{ A point }{point{0, 2}}},
		{map[string]any{"X": 1}, map[string]any{"Y": 2}, new(struct{ A *point }), struct{ A *point }{&point{0, 2}}},
		{1, nil, new(struct{ A int }), struct{ A int }{}},
		{[]int{1, 2}, []int{3}, new(struct{ A [2]int }), struct{ A [2]int }{[2]int{3, 0}}},
		{map[string]any{"X": 1}, map[string]any{"Y": 2}, new(map[string]any), map[string]any{"A": map[string]any{"Y": int64(2)}, "b": int64(1)}},
	} {
		require.NoError(t, dirty.Unmarshal(twice(row.first, row.last), row.dst))
		assert.Equal(t, row.want, reflect.ValueOf(row.dst).Elem().Interface())
	}
	fields := make([]reflect.StructField, 300) // more than one word of bits
	for i := range fields {
		fields[i] = reflect.StructField{Name: fmt.Sprint("F", i), Type: reflect.TypeFor[*int]()}
	}
	dst := reflect.New(reflect.StructOf(fields))
	require.NoError(t, dirty.Unmarshal(mustMarshal(t, dirty.Dict{{Key: "F299", Value: 1}, {Key: "F43", Value: 2}, {Key: "F299"}}), dst.Interface()))
	assert.True(t, dst.Elem().Field(299).IsNil())
	assert.Equal(t, 2, *dst.Elem().Field(43).Interface().(*int))
}
