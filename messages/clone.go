package messages

import (
	"maps"
	"slices"
)

// Clone returns a copy that may be changed. What is immutable everywhere (the elements of sources and targets, definitions,
// credentials) is copied as well, so that nobody has to know which part is shared.
func (c *Connection) Clone() *Connection {
	n := *c
	n.Name = clonePointer(c.Name)
	n.Sources = slices.Clone(c.Sources)
	for i := range n.Sources {
		n.Sources[i] = n.Sources[i].clone()
	}
	n.Targets = slices.Clone(c.Targets)
	for i := range n.Targets {
		n.Targets[i] = n.Targets[i].clone()
	}
	n.SpecificConfig = maps.Clone(c.SpecificConfig)
	n.MappingDefinitions = maps.Clone(c.MappingDefinitions)
	for id, d := range n.MappingDefinitions {
		d.Options = slices.Clone(d.Options)
		d.IncomingConditions, d.OutgoingConditions = maps.Clone(d.IncomingConditions), maps.Clone(d.OutgoingConditions)
		n.MappingDefinitions[id] = d
	}
	if c.Credentials != nil {
		credentials := c.Credentials.clone()
		n.Credentials = &credentials
	}
	if c.SSHTunnel != nil {
		tunnel := *c.SSHTunnel
		tunnel.Credentials = tunnel.Credentials.clone()
		tunnel.KnownHosts = slices.Clone(tunnel.KnownHosts)
		n.SSHTunnel = &tunnel
	}
	n.Tags = slices.Clone(c.Tags)
	return &n
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func (s Source) clone() Source {
	s.Addresses = slices.Clone(s.Addresses)
	s.QoS = clonePointer(s.QoS)
	s.AuthorizationContext = slices.Clone(s.AuthorizationContext)
	if s.Enforcement != nil {
		s.Enforcement = &Enforcement{Input: s.Enforcement.Input, Filters: slices.Clone(s.Enforcement.Filters)}
	}
	if r := s.AcknowledgementRequest; r != nil {
		s.AcknowledgementRequest = &AcknowledgementRequests{Includes: slices.Clone(r.Includes), Filter: clonePointer(r.Filter)}
	}
	s.DeclaredAcks = slices.Clone(s.DeclaredAcks)
	s.HeaderMapping = maps.Clone(s.HeaderMapping)
	s.PayloadMapping = slices.Clone(s.PayloadMapping)
	s.ReplyTarget.Address = clonePointer(s.ReplyTarget.Address)
	s.ReplyTarget.HeaderMapping = maps.Clone(s.ReplyTarget.HeaderMapping)
	s.ReplyTarget.ExpectedResponseTypes = slices.Clone(s.ReplyTarget.ExpectedResponseTypes)
	return s
}

func (t Target) clone() Target {
	t.Topics = slices.Clone(t.Topics)
	for i := range t.Topics {
		t.Topics[i].Namespaces = slices.Clone(t.Topics[i].Namespaces)
	}
	t.QoS = clonePointer(t.QoS)
	t.AuthorizationContext = slices.Clone(t.AuthorizationContext)
	t.HeaderMapping = maps.Clone(t.HeaderMapping)
	t.PayloadMapping = slices.Clone(t.PayloadMapping)
	return t
}

func (c Credentials) clone() Credentials {
	for _, p := range []**string{&c.Cert, &c.Key, &c.ClientSecret, &c.Audience} {
		*p = clonePointer(*p)
	}
	c.Parameters = slices.Clone(c.Parameters)
	return c
}
