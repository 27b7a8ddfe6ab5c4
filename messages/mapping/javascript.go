package mapping

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"hawser/messages"
	"hawser/messages/mapping/javascript"
	"hawser/messages/protocol"
)

// script maps with the functions of a connection's own scripts (contract runtime.md 8.2). Where one is missing it acts as
// Ditto inbound, and sends the envelope with all its headers outbound.
type script struct {
	ditto
	engine             *javascript.Engine
	incoming, outgoing bool
	runtimes           int
}

// newJavaScript refuses scripts that are too large or are none, also for definitions that nobody uses (rule V30b of
// contract connection-model.md 14.2).
func newJavaScript(o options, r resources) (Mapper, error) {
	settings := javascript.Options{ByteBuffer: o.flag("loadBytebufferJS", false), Long: o.flag("loadLongJS", false), Runtimes: r.members,
		MaxInbound: r.limits.MaxInbound, MaxOutbound: r.limits.MaxOutbound}
	for name, source := range map[string]*string{"incomingScript": &settings.Incoming, "outgoingScript": &settings.Outgoing} {
		*source, _ = o.text(name)
		if utf8.RuneCountInString(*source) > r.limits.MaxScriptCharacters {
			return nil, fmt.Errorf("its option %s has more than %d characters", name, r.limits.MaxScriptCharacters)
		}
	}
	engine, err := javascript.New(settings, r.limits.Script)
	if err != nil {
		return nil, err
	}
	return &script{engine: engine, incoming: settings.Incoming != "", outgoing: settings.Outgoing != "", runtimes: r.members}, nil
}

func (s *script) Inbound(ctx Context, m *External) ([]*protocol.Envelope, error) {
	if !s.incoming {
		return s.ditto.Inbound(ctx, m)
	}
	contentType, hasContentType := m.Headers[messages.HeaderContentType]
	texts, err := s.engine.Inbound(ctx.Done, &javascript.Message{Headers: m.Headers, ContentType: contentType, HasContentType: hasContentType,
		Text: m.Text, HasText: m.HasText, Bytes: m.Bytes, HasBytes: m.HasBytes})
	if err != nil {
		return nil, scriptError(err, contentType)
	}
	envelopes := make([]*protocol.Envelope, 0, len(texts))
	for _, text := range texts {
		more, err := parse(text)
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, more...)
	}
	return envelopes, nil
}

// scriptError: too many results are the same error, whoever counts them.
func scriptError(err error, contentType string) error {
	var many *javascript.TooManyError
	if errors.As(err, &many) {
		return tooMany(contentType, many.Count, many.Limit)
	}
	return err
}

func (s *script) Outbound(ctx Context, e *protocol.Envelope) ([]*External, error) {
	if !s.outgoing {
		h := e.Headers.Clone()
		protocol.FilterOutbound(h)
		h[messages.HeaderContentType] = messages.ContentTypeDittoProtocol
		return []*External{{Headers: h, Text: envelopeText(e), HasText: true}}, nil
	}
	results, err := s.engine.Outbound(ctx.Done, envelopeText(e))
	if err != nil {
		return nil, scriptError(err, e.Headers[messages.HeaderContentType])
	}
	out := make([]*External, len(results))
	for i, r := range results {
		out[i] = &External{Headers: r.Headers, Text: r.Text, HasText: r.HasText, Bytes: r.Bytes, HasBytes: r.HasBytes}
		if r.HasContentType {
			out[i].Headers[messages.HeaderContentType] = r.ContentType
		}
	}
	return out, nil
}
