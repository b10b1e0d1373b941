package access

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/golang-jwt/jwt/v5"

	"quarry/api"
)

const (
	// Valid is how long a bearer opens its file.
	Valid = 5 * time.Minute
	// Leeway is how far the clocks of two hosts may differ.
	Leeway = time.Minute
	// maxBearer bounds what is looked at, in bytes.
	maxBearer = 2 << 10
)

// method is the only algorithm that is signed with or believed.
var method = jwt.SigningMethodEdDSA

// ErrRefused is what every refusal of a bearer is.
var ErrRefused = errors.New("the bearer does not open this file")

// File is a sector file in a process.
type File struct {
	Base   string // URL below which the process serves files, as it attached it
	Type   api.FileType
	Sector abi.SectorID
}

// ParseURL takes the address of a file apart, as the index gives it:
// base/type/sector.
func ParseURL(raw string) (File, error) {
	bad := &api.ErrInvalid{What: "address of a sector file", Reason: "it is not of the form http(s)://host/remote/type/sector"}
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return File{}, bad
	}
	rest, sector, ok1 := cutLast(raw)
	base, kind, ok2 := cutLast(rest)
	if !ok1 || !ok2 {
		return File{}, bad
	}
	id, err1 := api.ParseSectorName(sector)
	t, err2 := api.ParseFileType(kind)
	if err1 != nil || err2 != nil || base == "" {
		return File{}, bad
	}
	return File{Base: base, Type: t, Sector: id}, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// CleanBase gives the one form of a URL below which a process serves files:
// http(s)://host[:port]/path, in lower case but for the path, without the port that
// goes without saying and without a slash at the end.
func CleanBase(raw string) (string, error) {
	bad := func(why string) error {
		return &api.ErrInvalid{What: "URL of a process with sector files", Reason: why, Hint: "it looks like http://10.0.0.5:3456/remote"}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", bad("it is not http(s)://host/remote")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", bad("it has a user, a query or a fragment")
	case len(raw) > maxBase:
		return "", bad("it is too long")
	}
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"http": ":80", "https": ":443"} {
		if u.Scheme == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	where := strings.TrimRight(u.EscapedPath(), "/")
	if where != "" && path.Clean(where) != where {
		return "", bad("its path leads elsewhere than it seems")
	}
	return u.Scheme + "://" + host + where, nil
}

// maxBase bounds the URL of a process, in bytes.
const maxBase = 500

// claims say what a bearer opens.
type claims struct {
	File   string `json:"file"` // type/sector
	Method string `json:"method"`
	jwt.RegisteredClaims
}

func (f File) name() string { return f.Type.String() + "/" + api.SectorName(f.Sector) }

func verb(del bool) string {
	if del {
		return http.MethodDelete
	}
	return http.MethodGet
}

// KeyID names a public key.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// Signer makes bearers. It may be used by several goroutines.
type Signer struct {
	key func() ed25519.PrivateKey
	now func() time.Time
}

// NewSigner makes a Signer; key is asked each time, so that it may be replaced.
func NewSigner(key func() ed25519.PrivateKey) *Signer { return &Signer{key: key, now: time.Now} }

// Public is what checks the bearers that are made now.
func (s *Signer) Public() api.FileKey {
	public := s.public()
	return api.FileKey{ID: KeyID(public), Public: public}
}

func (s *Signer) public() ed25519.PublicKey {
	public, _ := s.key().Public().(ed25519.PublicKey) // it is what ed25519 documents
	return public
}

// Bearer makes one for a file.
func (s *Signer) Bearer(f File, del bool) (api.FileBearer, error) {
	now := s.now()
	t := jwt.NewWithClaims(method, claims{
		File:   f.name(),
		Method: verb(del),
		RegisteredClaims: jwt.RegisteredClaims{
			Audience:  jwt.ClaimStrings{f.Base},
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(Valid)),
		},
	})
	t.Header["kid"] = KeyID(s.public())
	text, err := t.SignedString(s.key())
	if err != nil {
		return api.FileBearer{}, fmt.Errorf("sign the bearer of a file: %w", err)
	}
	return api.FileBearer{Token: text, Valid: Valid}, nil
}
