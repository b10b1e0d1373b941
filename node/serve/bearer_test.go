package serve

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"quarry/api"
)

// A bearer that opens one thing opens it, with no other right; other tokens need
// the permission of the route, and a check that cannot be made now is no refusal.
func TestBearersOpenOneThing(t *testing.T) {
	opens := Opens{
		Is: func(token string) bool { return strings.HasPrefix(token, "bearer") },
		Check: func(r *http.Request, token string) error {
			switch token {
			case "bearer-of-" + r.URL.Path:
				return nil
			case "bearer-away":
				return fmt.Errorf("key: %w", &api.ErrUnreachable{Peer: "node", Reason: "secret.host is away"})
			}
			return errors.New("secret reason")
		},
	}
	s := start(t, Config{}, Deps{}, func(s *Server) {
		s.HandleBearer("GET /remote/", api.PermAdmin, opens, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "bytes for ", Permissions(r.Context()))
		}))
	})
	url := "http://" + s.Addr() + "/remote/a"
	for _, c := range []struct {
		what, method, auth, body string
		code                     int
	}{
		{"nobody", "GET", "", "", 401},
		{"a stranger", "GET", "Bearer x", "", 401},
		{"a reader", "GET", "Bearer read", "permission 'admin'", 403},
		{"an admin", "GET", "Bearer admin", "bytes for [read", 200},
		{"its bearer", "GET", "Bearer bearer-of-/remote/a", "bytes for []", 200},
		{"another's bearer", "GET", "Bearer bearer-of-/remote/b", "does not open", 401},
		{"a bearer that cannot be checked", "GET", "Bearer bearer-away", "cannot be checked now", 503},
		{"a method that is not served", "DELETE", "Bearer bearer-of-/remote/a", "", 405},
	} {
		code, body := do(t, c.method, url, c.auth, "")
		if code != c.code || !strings.Contains(body, c.body) || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %s", c.what, code, body)
		}
	}
	if code, _ := do(t, "POST", "http://"+s.Addr()+"/rpc/v1", "Bearer bearer-of-/rpc/v1", "{}"); code != 401 {
		t.Errorf("a bearer at the API: %d", code)
	}
}

// What belongs to a token is found again by its ID, or by a hash where it has none.
func TestIdentityOfTokens(t *testing.T) {
	const withID = "eyJhbGciOiJIUzI1NiJ9.eyJBbGxvdyI6W10sImp0aSI6ImFiYyJ9.AAAA" // {"Allow":[],"jti":"abc"}
	if got := identity(withID); got != "abc" {
		t.Errorf("got %q", got)
	}
	for _, without := range []string{"x", "eyJhbGciOiJIUzI1NiJ9.eyJBbGxvdyI6W119.AAAA"} {
		got := identity(without)
		if len(got) != len("sha256:")+64 || !strings.HasPrefix(got, "sha256:") || strings.Contains(got, without) {
			t.Errorf("%s is %q", without, got)
		}
	}
	if identity("x") == identity("y") {
		t.Error("two tokens have one identity")
	}
}
