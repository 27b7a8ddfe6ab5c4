package encryption

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// DefaultPointers are the fields that are protected unless configured otherwise (encryption.md 3).
func DefaultPointers() []string {
	return []string{
		"/uri",
		"/credentials/key",
		"/sshTunnel/credentials/password",
		"/sshTunnel/credentials/privateKey",
		"/credentials/parameters/accessKey",
		"/credentials/parameters/secretKey",
		"/credentials/parameters/sharedKey",
		"/credentials/clientSecret",
		"/credentials/password",
	}
}

// ParsePointers reads a list of pointers as a variable holds it: a JSON array of strings, or separated by commas
// (encryption.md 1.1). It does not check the pointers.
func ParsePointers(text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		var list []string
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, errors.New("is no JSON array of strings")
		}
		return list, nil
	}
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list, nil
}

// node is a place in a document that leads to protected values or holds one.
type node struct {
	children map[string]*node
	pointer  string // of the value that is protected, "" if this is none
}

// envelope is where an event keeps its connection. A snapshot is the connection itself (encryption.md 3).
const envelope = "connection"

// newTree puts pointers into one tree, each for a snapshot and for an event: no snapshot has a member "connection", and no
// event has members of a connection beside its own, so that one walk serves both.
func newTree(pointers []string) (*node, error) {
	root := &node{}
	for _, p := range pointers {
		segments, err := segments(p)
		if err != nil {
			return nil, err
		}
		root.add(segments, p)
		root.add(append([]string{envelope}, segments...), "/"+envelope+p)
	}
	return root, nil
}

func (n *node) add(segments []string, pointer string) {
	for _, s := range segments {
		next := n.children[s]
		if next == nil {
			next = &node{}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[s] = next
		}
		n = next
	}
	n.pointer = pointer
}

// segments splits a JSON pointer; ~1 is "/" and ~0 is "~".
func segments(pointer string) ([]string, error) {
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%q is no JSON pointer: want /member/member", pointer)
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		if strings.Count(part, "~") != strings.Count(part, "~0")+strings.Count(part, "~1") || part == "" {
			return nil, fmt.Errorf("%q is no JSON pointer: want /member/member, with ~0 for ~ and ~1 for /", pointer)
		}
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts, nil
}
