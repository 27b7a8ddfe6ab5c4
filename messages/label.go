package messages

import "regexp"

const labelPattern = `(\{\{\s*[a-z]+:[a-z]+\s*\}\}:)?[a-zA-Z0-9-_:]{3,165}`

var labelRegexp = regexp.MustCompile(`^` + labelPattern + `$`)

// ValidLabel reports whether s is an acknowledgement label, possibly with a leading placeholder (connection-model.md 3).
func ValidLabel(s string) bool { return labelRegexp.MatchString(s) }

// ValidID reports whether s can be a connection id: [a-zA-Z0-9-_:]{1,100} (B4).
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 100 {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '-' && c != '_' && c != ':' {
			return false
		}
	}
	return true
}
