package gateway

import (
	"net/http"
	"strconv"
	"strings"

	"hawser/messages"
)

// WriteJSON answers with a JSON body.
func WriteJSON(w http.ResponseWriter, status int, body []byte) {
	write(w, status, "application/json", body)
}

// WriteError answers with shape E1; the HTTP status is the error's (contract piggyback.md 1.8).
func WriteError(w http.ResponseWriter, e *messages.Error) {
	WriteJSON(w, e.Status, messages.ErrorReply(e).Body)
}

// WriteText answers with shape E4, the plain text of the HTTP layer.
func WriteText(w http.ResponseWriter, status int, text string) {
	write(w, status, "text/plain; charset=UTF-8", []byte(text))
}

// WriteNotFound answers a path that does not exist.
func WriteNotFound(w http.ResponseWriter) {
	WriteText(w, http.StatusNotFound, "The requested resource could not be found.")
}

// WriteMethodNotAllowed answers a method that a path does not have.
func WriteMethodNotAllowed(w http.ResponseWriter, allowed ...string) {
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	WriteText(w, http.StatusMethodNotAllowed, "HTTP method not allowed, supported methods: "+list)
}

// NewPayloadTooLarge: a request body above the limit (http-api.md 8.3 answers 413 without a body; /devops has room for one).
func NewPayloadTooLarge(limit int64) *messages.Error {
	return &messages.Error{
		Status: http.StatusRequestEntityTooLarge, Code: "gateway:payload.toolarge",
		Message:     "The body of the request is larger than " + strconv.FormatInt(limit, 10) + " bytes.",
		Description: "Send less, or raise http.max-content-length.",
	}
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
