package javascript

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja"
)

// maxBuffer is the largest buffer that a runtime keeps between calls, in bytes.
const maxBuffer = 64 << 10

func (m *member) inbound(in *Message, limit int) ([][]byte, error) {
	vm := m.vm
	properties := make([]property, 0, len(in.Headers))
	for name, value := range in.Headers {
		properties = append(properties, property{key: name, value: vm.ToValue(value)})
	}
	slices.SortFunc(properties, func(a, b property) int { return strings.Compare(a.key, b.key) }) // scripts see the order
	headers := m.object(object{properties: properties})
	text, buffer, contentType := goja.Null(), goja.Null(), goja.Null()
	if in.HasText {
		text = vm.ToValue(in.Text)
	}
	if in.HasBytes {
		buffer = vm.ToValue(vm.NewArrayBuffer(append(make([]byte, 0, len(in.Bytes)), in.Bytes...))) // nil would be a detached one
	}
	if in.HasContentType {
		contentType = vm.ToValue(in.ContentType)
	}
	wrapper, err := m.function(&m.toWrapper)
	if err != nil {
		return nil, err
	}
	var result goja.Value
	if m.toWrapper.value == m.toWrapper.original { // it would only call what is called here
		var f goja.Callable
		if f, err = m.function(&m.toEntry); err != nil {
			return nil, err
		}
		result, err = f(goja.Undefined(), headers, text, buffer, contentType)
	} else {
		message := vm.NewObject()
		_ = message.Set("headers", headers)
		_ = message.Set("textPayload", text)
		_ = message.Set("bytePayload", buffer)
		_ = message.Set("contentType", contentType)
		result, err = wrapper(goja.Undefined(), message)
	}
	if err != nil {
		return nil, m.failure(err)
	}
	var envelopes [][]byte
	err = m.each(result, limit, func(o *goja.Object) error {
		text, ok := encoder{m: m, verbatim: true}.value(m.buffer[:0], o, "", 0)
		if !ok {
			return errors.New("the script returned an object that has no JSON")
		}
		envelopes = append(envelopes, bytes.Clone(text))
		if cap(text) <= maxBuffer {
			m.buffer = text
		}
		return nil
	})
	return envelopes, err
}

func (m *member) outbound(envelope string, limit int) ([]*Message, error) {
	wrapper, err := m.function(&m.fromWrapper)
	if err != nil {
		return nil, err
	}
	result, err := wrapper(goja.Undefined(), m.object(object{raw: envelope}))
	if err != nil {
		return nil, m.failure(err)
	}
	var messages []*Message
	err = m.each(result, limit, func(o *goja.Object) error {
		message, err := m.external(o)
		messages = append(messages, message)
		return err
	})
	return messages, err
}

// each calls f with what a script returned: one object or those of an array, which are at most limit. Null is nothing.
func (m *member) each(result goja.Value, limit int, f func(*goja.Object) error) error {
	if goja.IsNull(result) {
		return nil
	}
	o, ok := plain(result)
	if !ok {
		return fmt.Errorf("the script returned %s, not an object, an array of objects or null", kind(result))
	}
	if o.ClassName() != "Array" {
		return f(o)
	}
	length := o.Get("length").ToInteger()
	if length > int64(limit) {
		return &TooManyError{Count: int(length), Limit: limit}
	}
	for i := range length {
		m.checkTime()
		value := o.Get(strconv.FormatInt(i, 10))
		element, ok := plain(value)
		if !ok || element.ClassName() == "Array" {
			return fmt.Errorf("the script returned an array whose element %d is %s, not an object", i, kind(value))
		}
		if err := f(element); err != nil {
			return err
		}
	}
	return nil
}

// plain returns an object that is no function.
func plain(v goja.Value) (*goja.Object, bool) {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, false
	}
	if _, callable := goja.AssertFunction(o); callable {
		return nil, false
	}
	return o, true
}

func kind(v goja.Value) string {
	switch v := v.(type) {
	case *goja.Object:
		if v.ClassName() == "Array" {
			return "an array"
		}
		if _, callable := goja.AssertFunction(v); callable {
			return "a function"
		}
		return "an object"
	case *goja.Symbol:
		return "a symbol"
	}
	switch {
	case v == nil || goja.IsUndefined(v):
		return "undefined"
	case goja.IsNull(v):
		return "null"
	case goja.IsString(v):
		return "a string"
	case goja.IsNumber(v):
		return "a number"
	case goja.IsBigInt(v):
		return "a bigint"
	}
	return "a boolean"
}

var errNoPayload = errors.New("the script returned a message with neither bytePayload nor textPayload")

// external reads an external message.
func (m *member) external(o *goja.Object) (*Message, error) {
	message := &Message{Headers: map[string]string{}}
	if headers, ok := o.Get("headers").(*goja.Object); ok {
		for _, name := range headers.Keys() {
			value := headers.Get(name)
			switch v := value.(type) {
			case nil:
				continue
			case *goja.Object:
				text, ok := encoder{m: m}.value(nil, v, name, 0)
				if !ok {
					continue
				}
				message.Headers[strings.ToLower(name)] = string(text)
				continue
			}
			if goja.IsNull(value) || goja.IsUndefined(value) {
				continue
			}
			message.Headers[strings.ToLower(name)] = value.String()
		}
	}
	switch contentType := o.Get("contentType"); {
	case contentType == nil || goja.IsUndefined(contentType):
	case goja.IsString(contentType):
		message.ContentType, message.HasContentType = contentType.String(), true
	default:
		return nil, fmt.Errorf("the script returned a message whose contentType is %s, not a string", kind(contentType))
	}
	if b, ok := arrayBuffer(o.Get("bytePayload")); ok {
		message.Bytes, message.HasBytes = bytes.Clone(b), true
		return message, nil
	}
	if text := o.Get("textPayload"); text != nil && goja.IsString(text) {
		message.Text, message.HasText = text.String(), true
		return message, nil
	}
	return nil, errNoPayload
}

// buildEnvelope is Ditto.buildDittoProtocolMsg(namespace, name, group, channel, criterion, action, path, dittoHeaders,
// value, status, extra).
func (m *member) buildEnvelope(call goja.FunctionCall) goja.Value {
	var topic strings.Builder
	for i := range 6 {
		segment := call.Argument(i)
		switch {
		case i == 3 && segment.String() == "none":
			continue
		case i == 5 && (goja.IsUndefined(segment) || goja.IsNull(segment) || segment.String() == ""):
			continue
		case i > 0:
			topic.WriteByte('/')
		}
		topic.WriteString(segment.String())
	}
	properties := make([]property, 0, 6)
	properties = append(properties, property{key: "topic", value: m.vm.ToValue(topic.String())})
	for i, key := range [...]string{"path", "headers", "value", "status", "extra"} {
		properties = append(properties, property{key: key, value: call.Argument(6 + i)})
	}
	return m.object(object{properties: properties})
}

var arrayBufferType = reflect.TypeFor[goja.ArrayBuffer]()

// arrayBuffer returns the bytes of an ArrayBuffer; the script may still change them.
func arrayBuffer(v goja.Value) ([]byte, bool) {
	o, ok := v.(*goja.Object)
	if !ok || o.ExportType() != arrayBufferType { // exporting another object would copy all of it
		return nil, false
	}
	buffer, ok := o.Export().(goja.ArrayBuffer)
	return buffer.Bytes(), ok
}

// arrayBufferToString is Ditto.arrayBufferToString; it takes whatever a Uint8Array can be made of.
func (m *member) arrayBufferToString(call goja.FunctionCall) goja.Value {
	content, ok := arrayBuffer(call.Argument(0))
	if !ok {
		view, err := m.vm.New(m.bytes, call.Argument(0))
		m.rethrow(err)
		content, _ = arrayBuffer(view.Get("buffer"))
	}
	units := make([]uint16, len(content))
	for i, b := range content {
		units[i] = uint16(b)
	}
	return goja.StringFromUTF16(units)
}

// stringToArrayBuffer is Ditto.stringToArrayBuffer.
func (m *member) stringToArrayBuffer(call goja.FunctionCall) goja.Value {
	text := call.Argument(0).ToString().(goja.String)
	b := make([]byte, text.Length())
	for i := range b {
		b[i] = byte(text.CharAt(i))
	}
	return m.vm.ToValue(m.vm.NewArrayBuffer(b))
}
