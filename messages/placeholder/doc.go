// Package placeholder resolves expressions such as {{ header:device_id | fn:default('none') }} in texts: addresses,
// header mappings, enforcement filters, mapper options (contract runtime.md 9, connection-model.md 13).
//
// It may import package messages (for its errors) and the standard library. It knows no signal and no clock: a Source
// says what a placeholder stands for. Compile once per connection, resolve per message.
//
// Read first: Compile and Template.Resolve in template.go, then Pipeline, then the table of functions in functions.go.
package placeholder
