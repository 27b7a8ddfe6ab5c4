package messages

// FieldSelector is a parsed field selector such as "id,sources(addresses),_revision" (contract piggyback.md 4.3,
// connection-model.md 11).
type FieldSelector struct {
	Pointers []string // "/id", "/sources/addresses", in order
}
