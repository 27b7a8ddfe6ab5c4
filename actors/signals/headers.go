package signals

import (
	"maps"
	"slices"
	"strings"

	"hawser/messages"
	"hawser/messages/placeholder"
	"hawser/messages/protocol"
)

// headerMapping is a compiled header mapping. A value that does not compile never resolves: where the contract wants such
// values refused, validation has done so.
type headerMapping []mappedHeader

type mappedHeader struct {
	name     string
	constant string
	template *placeholder.Template // nil: constant
}

func compileHeaders(m map[string]string) headerMapping {
	var mapping headerMapping
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t, err := placeholder.Compile(m[name])
		if err != nil {
			continue
		}
		h := mappedHeader{name: strings.ToLower(name), template: t}
		if text, ok := t.Constant(); ok {
			h.constant, h.template = text, nil
		}
		mapping = append(mapping, h)
	}
	return mapping
}

// inbound returns the mapping without the headers that may not enter (contract runtime.md I-6.2).
func (m headerMapping) inbound() headerMapping {
	return slices.DeleteFunc(m, func(h mappedHeader) bool {
		probe := messages.Headers{h.name: ""}
		protocol.FilterInbound(probe)
		return len(probe) == 0
	})
}

// under adds the resolved headers that dst does not have.
func (m headerMapping) under(dst messages.Headers, values placeholder.Source) {
	for _, h := range m {
		if _, present := dst[h.name]; present {
			continue
		}
		if h.template == nil {
			dst[h.name] = h.constant
		} else if value, ok := h.template.Resolve(values); ok {
			dst[h.name] = value
		}
	}
}

// over puts the resolved headers on top of dst; a deleted one is removed from it.
func (m headerMapping) over(dst messages.Headers, values placeholder.Source) {
	for _, h := range m {
		if h.template == nil {
			dst[h.name] = h.constant
			continue
		}
		switch resolved, outcome := h.template.Evaluate(values); {
		case outcome == placeholder.Resolved && len(resolved) > 0:
			dst[h.name] = resolved[0]
		case outcome == placeholder.Deleted:
			delete(dst, h.name)
		}
	}
}
