package javascript_test

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"hawser/messages"
	"hawser/messages/mapping"
	"hawser/messages/protocol"
)

// Both payloads have 479 bytes: what a device sends to a script, and a whole envelope for the mapper Ditto.
const (
	benchPayload = `{"device":"pump-7","measuredAt":"2026-02-03T04:05:06.789Z","site":"north-hall","firmware":"2.11.4-build.7731",` +
		`"values":{"temperature":21.75,"humidity":48.2,"pressure":1013.25,"speed":1480,"vibration":[0.012,0.034,0.021,0.017],"running":true,` +
		`"mode":"automatic","lastError":null},"battery":{"level":87,"charging":false},"position":{"latitude":52.520008,"longitude":13.404954},` +
		`"alarms":[],"comment":"routine measurement of the pump in hall north, shift BC, without any deviations."}`
	benchEnvelope = `{"topic":"acme/pump-7/things/twin/commands/modify","headers":{"content-type":"application/json","correlation-id":"1"},` +
		`"path":"/features/measurement/properties","value":{"measuredAt":"2026-02-03T04:05:06.789Z","values":{"temperature":21.75,"humidity":48.2,` +
		`"pressure":1013.25,"speed":1480,"vibration":[0.012,0.034,0.021,0.017],"running":true,"mode":"auto","lastError":null},` +
		`"battery":{"level":87,"charging":false},"position":{"latitude":52.520008,"longitude":13.40495},"alarms":0}}`

	// passing hands the parsed payload on; building makes each value of the result anew.
	passing = `function mapToDittoProtocolMsg(headers, textPayload, bytePayload, contentType) {
  const m = JSON.parse(textPayload);
  return Ditto.buildDittoProtocolMsg('acme', m.device, 'things', 'twin', 'commands', 'modify', '/features/measurement/properties', headers, m);
}
function mapFromDittoProtocolMsg(namespace, name, group, channel, criterion, action, path, dittoHeaders, value, status, extra) {
  return Ditto.buildExternalMsg(dittoHeaders, JSON.stringify({id: name, value: value}), null, 'application/json');
}`
	building = `function mapToDittoProtocolMsg(headers, textPayload, bytePayload, contentType) {
  const m = JSON.parse(textPayload);
  const value = {at: m.measuredAt, from: m.site + '/' + m.firmware, temperature: m.values.temperature * 1.8 + 32, humidity: m.values.humidity / 100,
    pressure: m.values.pressure, speed: m.values.speed, vibration: m.values.vibration.map(v => v * 1000), running: m.values.running, mode: m.values.mode,
    battery: m.battery.charging ? 100 : m.battery.level, latitude: m.position.latitude, longitude: m.position.longitude, alarms: m.alarms.length, comment: m.comment};
  return Ditto.buildDittoProtocolMsg('acme', m.device, 'things', 'twin', 'commands', 'modify', '/features/measurement/properties', headers, value);
}`
)

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMapping compares JavaScript with the mapper Ditto. Run it with GOMAXPROCS=1: messages/s is then that of one
// core, by processor time and not by the clock, so that other load on the machine does not count.
func BenchmarkMapping(b *testing.B) {
	if len(benchPayload) != 479 || len(benchEnvelope) != 479 {
		b.Fatalf("the payloads have %d and %d bytes", len(benchPayload), len(benchEnvelope))
	}
	definition := func(name, script string) messages.MappingDefinition {
		options, err := json.Marshal(map[string]string{name: script})
		if err != nil {
			b.Fatal(err)
		}
		return messages.MappingDefinition{Engine: "JavaScript", Options: options}
	}
	set, err := mapping.NewSet(&messages.Connection{ID: "c", ProcessorPoolSize: 1, MappingDefinitions: map[string]messages.MappingDefinition{
		"passing": definition("incomingScript", passing), "building": definition("incomingScript", building), "sending": definition("outgoingScript", passing),
	}}, mapping.DefaultLimits)
	if err != nil {
		b.Fatal(err)
	}
	ctx := mapping.Context{ConnectionID: "c", Subjects: []string{"s"}, Now: time.Now()}
	event, err := protocol.Parse([]byte(benchEnvelope))
	if err != nil {
		b.Fatal(err)
	}
	measure := func(name string, once func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			began := processorTime()
			for b.Loop() {
				once(b)
			}
			b.ReportMetric(float64(b.N)/(processorTime()-began).Seconds(), "messages/s")
		})
	}
	inbound := func(mapper, payload string) func(b *testing.B) {
		m := &mapping.External{Text: payload, HasText: true, Bytes: []byte(payload), HasBytes: true, Headers: messages.Headers{
			"content-type": "application/json", "mqtt.topic": "acme/pump-7/telemetry", "mqtt.qos": "1", "mqtt.retain": "false"}}
		return func(b *testing.B) {
			if in := set.Inbound([]string{mapper}, ctx, m); in[0].Err != nil || len(in[0].Envelopes) != 1 {
				b.Fatal(in[0].Err)
			}
		}
	}
	outbound := func(mapper string) func(b *testing.B) {
		return func(b *testing.B) {
			if out := set.Outbound([]string{mapper}, ctx, event); out[0].Err != nil || len(out[0].Messages) != 1 {
				b.Fatal(out[0].Err)
			}
		}
	}
	measure("inbound/Ditto", inbound("Ditto", benchEnvelope))
	measure("inbound/JavaScript-passing", inbound("passing", benchPayload))
	measure("inbound/JavaScript-building", inbound("building", benchPayload))
	measure("outbound/Ditto", outbound("Ditto"))
	measure("outbound/JavaScript", outbound("sending"))
}
