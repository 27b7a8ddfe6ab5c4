package postgres

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// column is one parameter of a batch statement: an array in PostgreSQL's binary format, built element by element in a
// buffer that is used again for the next batch. Encoding through pgx would allocate for each element.
type column struct {
	oid   uint32
	buf   []byte
	rows  uint32
	nulls bool
}

const arrayHeader = 20 // dimensions, null flag, element type, length, lower bound

// epoch of the binary timestamp format.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (c *column) reset() {
	if cap(c.buf) > 4<<20 { // one huge batch must not hold its memory for ever
		c.buf = nil
	}
	if c.buf == nil {
		c.buf = make([]byte, arrayHeader, 4096)
	}
	c.buf, c.rows, c.nulls = c.buf[:arrayHeader], 0, false
}

func (c *column) text(s string) {
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(s)))
	c.buf = append(c.buf, s...)
	c.rows++
}

func (c *column) bytes(b []byte) {
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(b)))
	c.buf = append(c.buf, b...)
	c.rows++
}

func (c *column) null() {
	c.buf = binary.BigEndian.AppendUint32(c.buf, 1<<32-1)
	c.rows++
	c.nulls = true
}

func (c *column) int8(v int64) {
	c.buf = binary.BigEndian.AppendUint32(c.buf, 8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
	c.rows++
}

func (c *column) int4(v int) {
	c.buf = binary.BigEndian.AppendUint32(c.buf, 4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(int32(v)))
	c.rows++
}

func (c *column) bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	c.buf = binary.BigEndian.AppendUint32(c.buf, 1)
	c.buf = append(c.buf, b)
	c.rows++
}

func (c *column) time(t time.Time) { c.int8(t.UnixMicro() - postgresEpoch) }

// textOrNull writes the empty string as null.
func (c *column) textOrNull(s string) {
	if s == "" {
		c.null()
		return
	}
	c.text(s)
}

// tags writes a list of strings as one element: the literal of a text[].
func (c *column) tags(tags []string) {
	at := len(c.buf)
	c.buf = append(c.buf, 0, 0, 0, 0, '{')
	for i, tag := range tags {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = append(c.buf, '"')
		for k := range len(tag) {
			if tag[k] == '"' || tag[k] == '\\' {
				c.buf = append(c.buf, '\\')
			}
			c.buf = append(c.buf, tag[k])
		}
		c.buf = append(c.buf, '"')
	}
	c.buf = append(c.buf, '}')
	binary.BigEndian.PutUint32(c.buf[at:], uint32(len(c.buf)-at-4))
	c.rows++
}

// value finishes the array.
func (c *column) value() []byte {
	h := c.buf[:arrayHeader]
	binary.BigEndian.PutUint32(h[0:], 1)
	flag := uint32(0)
	if c.nulls {
		flag = 1
	}
	binary.BigEndian.PutUint32(h[4:], flag)
	binary.BigEndian.PutUint32(h[8:], c.oid)
	binary.BigEndian.PutUint32(h[12:], c.rows)
	binary.BigEndian.PutUint32(h[16:], 1)
	return c.buf
}

// columns makes the parameters of a statement from the types of their elements.
func columns(oids ...uint32) []column {
	cs := make([]column, len(oids))
	for i, oid := range oids {
		cs[i].oid = oid
	}
	return cs
}

// scalar parameters in binary.
func int8Param(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
func int4Param(v int) []byte   { return binary.BigEndian.AppendUint32(nil, uint32(int32(v))) }

const (
	oidText  = pgtype.TextOID
	oidInt8  = pgtype.Int8OID
	oidInt4  = pgtype.Int4OID
	oidBool  = pgtype.BoolOID
	oidStamp = pgtype.TimestamptzOID
)
