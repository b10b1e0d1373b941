package secret

import "log/slog"

const hidden = "<hidden>"

// String never prints itself: fmt, slog and encoders see a placeholder.
type String struct{ v string }

// New hides v.
func New(v string) String { return String{v} }

// Reveal returns the hidden value.
func (s String) Reveal() string { return s.v }

// Empty tells whether there is anything to hide.
func (s String) Empty() bool { return s.v == "" }

// String hides the value, also from %v and %s.
func (s String) String() string {
	if s.v == "" {
		return ""
	}
	return hidden
}

// GoString hides the value from %#v.
func (s String) GoString() string { return s.String() }

// LogValue hides the value from slog.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from JSON, TOML and the like.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
