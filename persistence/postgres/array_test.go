package postgres

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"
)

// TestColumns reads back with the driver's own decoder what the columns encode.
func TestColumns(t *testing.T) {
	types := pgtype.NewMap()
	at := time.Date(2026, 8, 18, 10, 12, 1, 4_005_000, time.UTC)
	for name, row := range map[string]struct {
		oid   uint32 // of the array
		put   func(c *column)
		into  any
		value any
	}{
		"text": {pgtype.TextArrayOID, func(c *column) {
			c.text("a")
			c.text("")
			c.bytes([]byte("größer"))
			c.textOrNull("")
			c.textOrNull("z")
		}, new([]*string), &[]*string{new("a"), new(""), new("größer"), nil, new("z")}},
		"int8": {pgtype.Int8ArrayOID, func(c *column) { c.int8(1 << 40); c.int8(-1) }, new([]int64), &[]int64{1 << 40, -1}},
		"int4": {pgtype.Int4ArrayOID, func(c *column) { c.int4(7); c.int4(-1) }, new([]int32), &[]int32{7, -1}},
		"bool": {pgtype.BoolArrayOID, func(c *column) { c.bool(true); c.bool(false) }, new([]bool), &[]bool{true, false}},
		"time": {pgtype.TimestamptzArrayOID, func(c *column) { c.time(at); c.null() }, new([]*time.Time), &[]*time.Time{&at, nil}},
		"none": {pgtype.TextArrayOID, func(*column) {}, new([]string), &[]string{}},
	} {
		elements, _ := types.TypeForOID(row.oid)
		c := column{oid: elements.Codec.(*pgtype.ArrayCodec).ElementType.OID}
		for range 2 { // the buffer is used again
			c.reset()
			row.put(&c)
			if err := types.Scan(row.oid, pgtype.BinaryFormatCode, c.value(), row.into); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(row.value, row.into, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// FuzzTags compares the literal of a text[] with the driver's reading of it.
func FuzzTags(f *testing.F) {
	f.Add("a", "b")
	f.Add(`q"uote`, `back\slash`)
	f.Add("", "NULL")
	f.Add("{,}", " ")
	types := pgtype.NewMap()
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // the server refuses it, the driver's reader replaces it
		}
		c := column{oid: oidText}
		c.reset()
		c.tags([]string{a, b})
		var got []string
		if err := types.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, c.buf[arrayHeader+4:], &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{a, b}, got); diff != "" {
			t.Fatal(diff)
		}
	})
}
