package signals

import (
	"time"

	"hawser/actors/monitor"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
)

// The payload mapping with its times (contract operations.md 9, message_mapping_seconds).

// mapInbound runs the mappers of ids on a broker message.
func (e *Endpoint) mapInbound(ids []string, ctx mapping.Context, m *mapping.External) []mapping.Inbound {
	began := time.Now()
	results := e.mappers.Inbound(ids, ctx, m)
	success := true
	for k := range results {
		r := &results[k]
		accepted := r.Err == nil
		success = success && accepted
		e.record.MappingTook(false, monitor.SegmentPayload, r.Mapper, accepted || r.Accepting > 0, r.Took)
		if r.Accepting > 0 {
			e.record.MappingTook(false, monitor.SegmentProtocol, "", accepted, r.Accepting)
		}
	}
	e.record.MappingTook(false, monitor.SegmentOverall, "", success, time.Since(began))
	return results
}

// mapOutbound runs the mappers of ids on an envelope.
func (e *Endpoint) mapOutbound(ids []string, ctx mapping.Context, env *protocol.Envelope) []mapping.Outbound {
	began := time.Now()
	results := e.mappers.Outbound(ids, ctx, env)
	success := true
	for k := range results {
		r := &results[k]
		success = success && r.Err == nil
		e.record.MappingTook(true, monitor.SegmentPayload, r.Mapper, r.Err == nil, r.Took)
	}
	e.record.MappingTook(true, monitor.SegmentOverall, "", success, time.Since(began))
	return results
}

// envelopeOf is a signal as the targets of this connection get it.
func (e *Endpoint) envelopeOf(s *Signal) *protocol.Envelope {
	began := time.Now()
	env := s.outboundEnvelope(e.declared)
	e.record.MappingTook(true, monitor.SegmentProtocol, "", true, time.Since(began))
	return env
}
