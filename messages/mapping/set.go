package mapping

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hawser/messages"
	"hawser/messages/protocol"
)

// Set holds the mappers of one connection. It is immutable and safe for concurrent use.
type Set struct {
	limits  Limits
	mappers map[string]*definition
}

// defaultMappers is the list of a source or target that names none.
var defaultMappers = []string{engineDitto}

// NewSet makes the mappers of c. The error is that of Check.
func NewSet(c *messages.Connection, limits Limits) (*Set, error) {
	s := &Set{limits: limits, mappers: aliases()}
	if len(c.MappingDefinitions) > 0 {
		s.mappers = maps.Clone(s.mappers)
	}
	r := resources{limits: limits, members: max(1, min(c.ProcessorPoolSize, limits.MaxMembers))}
	for _, id := range slices.Sorted(maps.Keys(c.MappingDefinitions)) {
		d, err := load(c.MappingDefinitions[id], r)
		if err != nil {
			return nil, invalidDefinition(id, err)
		}
		s.mappers[id] = d
	}
	for i := range c.Sources {
		if err := s.checkUse(c.Sources[i].PayloadMapping, "source "+strings.Join(c.Sources[i].Addresses, ";"), "/sources/"+strconv.Itoa(i)+"/payloadMapping"); err != nil {
			return nil, err
		}
	}
	for i := range c.Targets {
		if err := s.checkUse(c.Targets[i].PayloadMapping, "target "+c.Targets[i].Address, "/targets/"+strconv.Itoa(i)+"/payloadMapping"); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// aliases are the mappers that every connection has under the name of their engine. Nobody changes the map.
var aliases = sync.OnceValue(func() map[string]*definition {
	all := map[string]*definition{}
	for alias, e := range engines {
		if !e.alias {
			continue
		}
		d, err := load(messages.MappingDefinition{Engine: alias}, resources{})
		if err != nil {
			panic("mapping: " + alias + " does not load without options: " + err.Error()) // a mistake in the table of engines
		}
		all[alias] = d
	}
	return all
})

// Check applies rules V30a and V30b of contract connection-model.md 14.2. The error is *messages.Error
// connectivity:connection.configuration.invalid, 400.
func Check(c *messages.Connection, limits Limits) error {
	_, err := NewSet(c, limits)
	return err
}

func invalidDefinition(id string, cause error) error {
	return messages.NewConfigurationInvalid(fmt.Sprintf("The mapping definition '%s' cannot be used: %v.", id, cause),
		"Check the mapping engine and its options.").About("/mappingDefinitions/" + id)
}

func (s *Set) checkUse(ids []string, user, place string) error {
	for _, id := range ids {
		d, ok := s.mappers[id]
		if ok && d.unusable == "" {
			continue
		}
		why := "it is not defined"
		if ok {
			why = d.unusable
		}
		var known []string
		for _, name := range slices.Sorted(maps.Keys(s.mappers)) {
			if s.mappers[name].unusable == "" {
				known = append(known, name)
			}
		}
		return messages.NewConfigurationInvalid(
			fmt.Sprintf("The mapper '%s' of %s could not be loaded: %s.", id, user, why),
			"The mappers that can be used are: "+strings.Join(known, ", ")+".").About(place)
	}
	return nil
}

// Runtimes is how many messages the scripts of the connection map at a time; mapping may take long then. 0: there are none.
func (s *Set) Runtimes() (n int) {
	for _, d := range s.mappers {
		if m, ok := d.mapper.(*script); ok {
			n = max(n, m.runtimes)
		}
	}
	return n
}

// get returns the mapper of an id; one that does not exist acts as Ditto (contract runtime.md 8.1, 6.4).
func (s *Set) get(id string) *definition {
	if d, ok := s.mappers[id]; ok && d.mapper != nil {
		return d
	}
	return s.mappers[engineDitto]
}

// Inbound is what one mapper made of a broker message: exactly one of Envelopes, Dropped and Err.
type Inbound struct {
	Mapper    string // id as payloadMapping names it: the internal header ditto-inbound-payload-mapper
	Envelopes []*protocol.Envelope
	Kinds     []protocol.Kind // of Envelopes, same order
	Dropped   bool
	Err       *messages.Error
	// Untried is ErrBusy or ErrAbandoned when Err says that the mapper did not look at the message.
	Untried error
	// Partial is what could be read of the envelope that failed, nil if nothing could.
	Partial *protocol.Envelope
	// Took is how long the mapper took, Accepting, after that, making its envelopes ready; 0: that was not begun.
	Took, Accepting time.Duration
}

// Inbound maps m with each mapper of ids, in order and independently; none: with Ditto (contract runtime.md I-5).
// The envelopes are ready to become signals: their kind is known, headers that may not enter are gone, the values of the
// others have their form, live topics have the header channel. m must not be changed afterwards.
func (s *Set) Inbound(ids []string, ctx Context, m *External) []Inbound {
	if len(ids) == 0 {
		ids = defaultMappers
	}
	results := make([]Inbound, len(ids))
	for i, id := range ids {
		began, r := time.Now(), &results[i]
		r.Mapper = id
		s.inbound(r, ctx, m)
		r.Took = time.Since(began) - r.Accepting
	}
	return results
}

func (s *Set) inbound(result *Inbound, ctx Context, m *External) {
	d := s.get(result.Mapper)
	fail := func(err error) {
		result.Envelopes, result.Kinds = nil, nil
		result.Err = asError(err, m.contentType())
	}
	if slices.Contains(d.blocklist, m.contentType()) {
		result.Dropped = true
		return
	}
	if len(d.incoming) > 0 {
		v := Values{Headers: m.Headers, Subjects: ctx.Subjects, ConnectionID: ctx.ConnectionID, Now: ctx.Now}
		ok, err := holds(d.incoming, &v)
		if err != nil {
			fail(err)
			return
		}
		if !ok {
			result.Dropped = true
			return
		}
	}
	envelopes, err := d.mapper.Inbound(ctx, m)
	switch {
	case err != nil:
		var u *unreadable
		if errors.As(err, &u) {
			result.Partial = u.partial
		}
		result.Untried = untried(err)
		fail(err)
		return
	case len(envelopes) == 0:
		result.Dropped = true
		return
	case len(envelopes) > s.limits.MaxInbound:
		fail(tooMany(m.contentType(), len(envelopes), s.limits.MaxInbound))
		return
	}
	began := time.Now()
	defer func() { result.Accepting = max(1, time.Since(began)) }()
	result.Envelopes, result.Kinds = envelopes, make([]protocol.Kind, len(envelopes))
	for i, e := range envelopes {
		if result.Kinds[i], err = s.accept(ctx, e); err != nil {
			result.Partial = e
			fail(err)
			return
		}
	}
}

// accept makes an envelope ready to become a signal.
func (s *Set) accept(ctx Context, e *protocol.Envelope) (protocol.Kind, error) {
	if e.Headers == nil {
		e.Headers = messages.Headers{}
	}
	if err := protocol.AdmitHeaders(e.Headers, s.limits.MaxHeaderBytes); err != nil {
		return protocol.Invalid, err
	}
	if len(ctx.Subjects) > s.limits.MaxSubjects {
		return protocol.Invalid, tooManySubjects(len(ctx.Subjects), s.limits.MaxSubjects)
	}
	if e.Topic.Channel == protocol.ChannelLive {
		e.Headers[messages.HeaderChannel] = protocol.ChannelLive
	}
	kind, err := e.Kind()
	if err != nil {
		return kind, err
	}
	if kind == protocol.LiveMessage || kind == protocol.LiveMessageResponse {
		if size := payloadSize(e); size > s.limits.MaxMessageBytes {
			return kind, payloadTooLarge(size, s.limits.MaxMessageBytes)
		}
	}
	return kind, nil
}

// payloadSize is the size of a message's payload: of JSON its text, of a text its characters, of base64 what it stands for.
func payloadSize(e *protocol.Envelope) int {
	size := len(e.Value)
	contentType := e.Headers[messages.HeaderContentType]
	if size > 1 && e.Value[0] == '"' && !isJSON(contentType) {
		size -= 2
		if !isText(contentType) {
			size = base64.StdEncoding.DecodedLen(size)
		}
	}
	return size
}

func payloadTooLarge(size, limit int) *messages.Error {
	return &messages.Error{Status: 413, Code: CodePayloadTooLarge,
		Message:     fmt.Sprintf("The payload has %d bytes, more than the allowed %d.", size, limit),
		Description: "Send a smaller payload."}
}

func tooManySubjects(n, limit int) *messages.Error {
	return &messages.Error{Status: 431, Code: protocol.CodeHeadersTooLarge,
		Message:     fmt.Sprintf("The signal has %d authorization subjects, more than the allowed %d.", n, limit),
		Description: "Configure fewer subjects in the authorization context."}
}

func tooMany(contentType string, n, limit int) *messages.Error {
	return NewMappingFailed(contentType, fmt.Sprintf("The mapper returned %d messages, more than the allowed %d.", n, limit))
}

func asError(err error, contentType string) *messages.Error {
	var e *messages.Error
	if errors.As(err, &e) {
		return e
	}
	return NewMappingFailed(contentType, err.Error())
}

// ErrorEnvelope builds the error response to a failed outcome (contract runtime.md I-7): the entity comes from the
// envelope's topic if that was readable, else from the broker header device_id, else it is unknown.
func (in *Inbound) ErrorEnvelope(m *External) *protocol.Envelope {
	var topic *protocol.Topic
	var headers messages.Headers
	if in.Partial != nil {
		headers = in.Partial.Headers.Clone()
		protocol.FilterInbound(headers)
		if in.Err.Code == protocol.CodeHeadersTooLarge { // or the answer would be too large as well
			headers = messages.Headers{messages.HeaderCorrelationID: headers[messages.HeaderCorrelationID]}
		}
		if in.Partial.Topic.Name != "" {
			topic = &in.Partial.Topic
		}
	}
	if topic == nil {
		topic = protocol.TopicOfEntity(m.Headers["device_id"])
	}
	if topic != nil && topic.Channel == protocol.ChannelLive && !headers.Has(messages.HeaderChannel) {
		headers = headers.With(messages.HeaderChannel, protocol.ChannelLive)
	}
	e := protocol.NewError(in.Err, topic, headers)
	if id, ok := m.Headers[messages.HeaderCorrelationID]; ok && !e.Headers.Has(messages.HeaderCorrelationID) {
		e.Headers[messages.HeaderCorrelationID] = id
	}
	return e
}

// Outbound is what one mapper made of a signal: exactly one of Messages, Dropped and Err.
type Outbound struct {
	Mapper   string
	Messages []*External
	Dropped  bool
	Err      *messages.Error
	Untried  error         // as for Inbound
	Took     time.Duration // by the mapper
}

// Outbound maps e with each mapper of ids, in order and independently; none: with Ditto (contract runtime.md O-6).
// Neither e nor its headers are changed: headers that must not leave are left out of what is written.
func (s *Set) Outbound(ids []string, ctx Context, e *protocol.Envelope) []Outbound {
	if len(ids) == 0 {
		ids = defaultMappers
	}
	results := make([]Outbound, len(ids))
	for i, id := range ids {
		began, r := time.Now(), &results[i]
		r.Mapper = id
		s.outbound(r, ctx, e)
		r.Took = time.Since(began)
	}
	return results
}

func (s *Set) outbound(result *Outbound, ctx Context, e *protocol.Envelope) {
	d := s.get(result.Mapper)
	contentType := e.Headers[messages.HeaderContentType]
	if len(d.outgoing) > 0 {
		v := Values{Envelope: e, Subjects: ctx.Subjects, ConnectionID: ctx.ConnectionID, Now: ctx.Now}
		ok, err := holds(d.outgoing, &v)
		if err != nil {
			result.Err = asError(err, contentType)
			return
		}
		if !ok {
			result.Dropped = true
			return
		}
	}
	mapped, err := d.mapper.Outbound(ctx, e)
	switch {
	case err != nil:
		result.Err, result.Untried = asError(err, contentType), untried(err)
	case len(mapped) == 0:
		result.Dropped = true
	case len(mapped) > s.limits.MaxOutbound:
		result.Err = tooMany(contentType, len(mapped), s.limits.MaxOutbound)
	default:
		result.Messages = mapped
	}
}
