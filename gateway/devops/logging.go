package devops

import (
	"encoding/json"
	"net/http"

	"hawser/gateway"
	"hawser/messages"
)

// alias is a second name of the service on the routes for logging and config (decision D5).
const alias = "gateway"

// logging reads (GET) and changes (PUT) the levels of loggers (contract piggyback.md 1.9).
func (h *Handler) logging(w http.ResponseWriter, req *http.Request, pathService, pathInstance string) {
	query, headers, ok := h.query(w, req)
	if !ok {
		return
	}
	commandType := messages.RetrieveLoggerConfig
	fields := map[string]any{"includeDisabledLoggers": query.Get("includeDisabledLoggers") == "true"}
	if req.Method == http.MethodPut {
		commandType = messages.ChangeLogLevel
		text, ok := readBody(w, req)
		if !ok {
			return
		}
		change, failure := parseChange(text)
		if failure != nil {
			gateway.WriteError(w, failure)
			return
		}
		fields = map[string]any{"level": change.Level, "logger": change.Logger}
	}
	fields["type"] = commandType
	f := formMap // the body is peeled as far as the path names things
	switch {
	case pathInstance != "":
		f = formBare
	case pathService != "":
		f = formInstance
	}
	h.everywhere(w, req, headers, pathService, pathInstance, messages.TargetLogging, commandType, fields, f)
}

// parseChange reads the body of a PUT: level is required, logger defaults to the root.
func parseChange(text []byte) (messages.LoggerConfig, *messages.Error) {
	switch {
	case len(text) == 0:
		return messages.LoggerConfig{}, messages.NewJSONInvalid("The body of the request is empty.")
	case !messages.ValidJSON(text):
		return messages.LoggerConfig{}, messages.NewJSONInvalid("The body of the request is no JSON.")
	}
	w := walk{text: text}
	if w.space(); text[w.at] != '{' {
		return messages.LoggerConfig{}, messages.NewJSONFormatInvalid()
	}
	var level, logger json.RawMessage
	members(text, func(name string, value json.RawMessage) {
		switch name {
		case "level":
			level = value
		case "logger":
			logger = value
		}
	})
	if absent(level) {
		return messages.LoggerConfig{}, messages.NewFieldMissing("/level")
	}
	change := messages.LoggerConfig{Logger: Root}
	var err *messages.Error
	if change.Level, err = textOf("/level", level); err != nil {
		return change, err
	}
	if _, known := ParseLevel(change.Level); !known {
		return change, messages.NewJSONInvalid("Invalid LogLevel!")
	}
	if !absent(logger) {
		if change.Logger, err = textOf("/logger", logger); err != nil {
			return change, err
		}
	}
	return change, nil
}

// config shows the configuration; path selects a part (piggyback.md 1.9). Only service and instance together leave the map out.
func (h *Handler) config(w http.ResponseWriter, req *http.Request, pathService, pathInstance string) {
	query, headers, ok := h.query(w, req)
	if !ok {
		return
	}
	fields := map[string]any{"type": messages.RetrieveConfig}
	if path := query.Get("path"); path != "" {
		fields["path"] = path
	}
	f := formMap
	if pathInstance != "" {
		f = formBare
	}
	h.everywhere(w, req, headers, pathService, pathInstance, messages.TargetDevOps, messages.RetrieveConfig, fields, f)
}

// everywhere has a command answered by the instances that the path names, by each for itself. It needs no lease
// (decision D18).
func (h *Handler) everywhere(w http.ResponseWriter, req *http.Request, headers messages.Headers, pathService, pathInstance, target, commandType string,
	fields map[string]any, f form) {
	if pathService == alias {
		pathService = service
	}
	wait, failure := timeout(headers)
	if failure == nil {
		failure = h.place(pathService, pathInstance)
	}
	text, err := json.Marshal(fields)
	if err != nil && failure == nil { // texts only
		failure = messages.NewInternalError()
	}
	if failure != nil {
		gateway.WriteError(w, failure)
		return
	}
	instances := []string{pathInstance}
	if pathInstance == "" {
		instances, _ = h.opts.Nodes.Instances()
	}
	command := messages.NodeCommand(commandType, text, headers)
	command.RequestID = identify(headers)
	o, answered := h.collect(req.Context(), round{target: target, command: command, wait: wait, instances: instances, expected: len(instances)})
	if answered {
		h.send(w, headers, o, f)
	}
}
