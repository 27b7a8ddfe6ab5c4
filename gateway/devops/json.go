package devops

import (
	"bytes"
	"encoding/json"
)

// walk steps over a text that messages.ValidJSON has accepted, so it meets no surprise. It exists because an envelope only has to
// be cut into its members: building values for everything in it would cost more than the rest of a request.
type walk struct {
	text []byte
	at   int
}

func (w *walk) space() {
	for w.at < len(w.text) && (w.text[w.at] == ' ' || w.text[w.at] == '\t' || w.text[w.at] == '\n' || w.text[w.at] == '\r') {
		w.at++
	}
}

// string steps over a string and returns it with its quotes.
func (w *walk) string() []byte {
	start := w.at
	for w.at++; w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.text[start:w.at]
}

// value steps over a value and returns its text.
func (w *walk) value() json.RawMessage {
	start := w.at
	switch w.text[w.at] {
	case '"':
		w.string()
	case '{', '[':
		for depth := 0; ; {
			switch w.text[w.at] {
			case '"':
				w.string()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			w.at++
			if depth == 0 {
				break
			}
		}
	default:
		for w.at < len(w.text) && bytes.IndexByte([]byte(" \t\n\r,]}"), w.text[w.at]) < 0 {
			w.at++
		}
	}
	return w.text[start:w.at:w.at]
}

// members calls each with the members of an object, in order.
func members(object []byte, each func(name string, value json.RawMessage)) {
	w := walk{text: object}
	w.space()
	w.at++ // {
	for w.space(); w.text[w.at] != '}'; w.space() {
		name := unquote(w.string())
		w.space()
		w.at++ // :
		w.space()
		value := w.value()
		each(name, value)
		w.space()
		if w.text[w.at] == ',' {
			w.at++
		}
	}
}

// unquote is what a string stands for.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // cannot fail: json.Valid has accepted it
	return s
}

// withConnectionID is the inner command with an id in its connection, which is a non-empty object: the last of equal names
// counts, so the id goes to the end. Whoever reads the command again, on this node or another, finds it there.
func withConnectionID(command json.RawMessage, id string) json.RawMessage {
	out := make([]byte, 0, len(command)+len(id)+16)
	members(command, func(name string, value json.RawMessage) {
		quoted, _ := json.Marshal(name) // a string always marshals
		out = append(append(append(append(out, ','), quoted...), ':'), value...)
		if name == "connection" {
			out = append(append(append(out[:len(out)-1], `,"id":"`...), id...), `"}`...)
		}
	})
	out[0] = '{'
	return append(out, '}')
}
