package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/api/client"
	"quarry/internal/apiinfo"
	"quarry/internal/command"
	"quarry/internal/durable"
	"quarry/node/repo"
)

var outFlag = &cli.StringFlag{Name: "out", Usage: "write it to this new `FILE`, for its owner only, instead of printing it"}

// defaultOldValid is how long old tokens stay valid unless the operator says.
const defaultOldValid = 24 * time.Hour

// expiry reads --expires; zero means never.
func expiry(c *cli.Context, now time.Time) (time.Time, error) {
	if !c.IsSet("expires") {
		return time.Time{}, nil
	}
	d := c.Duration("expires")
	if d < time.Second {
		return time.Time{}, fmt.Errorf("--expires %s: a token lives for a second at least, for example 720h; "+
			"leave the flag out for one that is valid until it is revoked", d)
	}
	return now.Add(d), nil
}

// handOut prints a secret, or writes it to the file of --out, which must not exist.
func handOut(c *cli.Context, text string) error {
	path := c.String(outFlag.Name)
	if path == "" {
		fmt.Fprintln(c.App.Writer, text)
		return nil
	}
	if err := freeFile(c); err != nil {
		return err
	}
	if err := durable.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "written to %s; give it where an API info is wanted as @%s\n", path, path)
	return nil
}

// freeFile refuses --out before a token is made that nobody would see.
func freeFile(c *cli.Context) error {
	path := c.String(outFlag.Name)
	if path == "" {
		return nil
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--out %s: it exists already, or cannot be looked at (%v); name a new file", path, err)
	}
	return nil
}

// tokenState says in a word or two what a token is good for now.
func tokenState(k api.TokenInfo, now time.Time) string {
	over := !k.Expires.IsZero() && !k.Expires.After(now)
	switch {
	case k.Revoked:
		return "revoked"
	case over && k.Superseded:
		return "ended by a rotation"
	case over:
		return "expired"
	case k.Superseded:
		return "valid until " + k.Expires.UTC().Format(time.RFC3339) + " (secret rotated)"
	case !k.Expires.IsZero():
		return "valid until " + k.Expires.UTC().Format(time.RFC3339)
	}
	return "valid"
}

// recentUse is how long after its last use a token counts as in use.
const recentUse = 10 * time.Minute

func revokeToken(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("name one token id; `miner auth list` prints them")
	}
	id := c.Args().First()
	n, err := dialCommon(c)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := command.Confirm(c, "would shut out %s", shutOut(c, n, id, time.Now())); err != nil {
		return err
	}
	return n.AuthRevoke(c.Context, id)
}

// shutOut says who would be shut out by revoking a token.
func shutOut(c *cli.Context, n *client.MinerAPI, id string, now time.Time) string {
	if id == tokenID(n.Info().Token.Reveal()) {
		return "this command itself, whose token it is, and all others with it (the node makes a new one for local commands " +
			"when it starts again)"
	}
	list, _ := n.AuthList(c.Context) // without it less can be said, and the call that counts tells its own error
	for _, k := range list {
		if k.ID == id && !k.Revoked && now.Sub(k.LastUsed) < recentUse {
			return fmt.Sprintf("whoever used token %q %s ago", k.Name, max(now.Sub(k.LastUsed), 0).Round(time.Second))
		}
	}
	return "whoever uses token " + id
}

// tokenID is the ID inside a token, empty where there is none.
func tokenID(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		ID string `json:"jti"`
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return ""
	}
	return claims.ID
}

func rotateCommand() *cli.Command {
	return &cli.Command{
		Name: "rotate", Usage: "let a new secret sign tokens; those made before end at a stated time",
		Flags: []cli.Flag{jsonFlag, command.YesFlag(), &cli.DurationFlag{Name: "old-valid-for", Value: defaultOldValid,
			Usage: "how long tokens made before stay valid, 0 to 2160h; 0: they end at once"}},
		Action: rotate,
	}
}

func rotate(c *cli.Context) error {
	d := c.Duration("old-valid-for")
	if d < 0 || d > 90*24*time.Hour || d%time.Second != 0 {
		return fmt.Errorf("--old-valid-for %s: want whole seconds, from 0 to 2160h", d)
	}
	if d == 0 {
		const what = "would end every token that this node has made at once, those of the other half and of the workers too"
		if err := command.Confirm(c, what); err != nil {
			return err
		}
	}
	n, err := dialCommon(c)
	if err != nil {
		return err
	}
	defer n.Close()
	out, err := n.AuthRotate(c.Context, int64(d/time.Second))
	if err != nil {
		return err
	}
	return show(c, out, func(w io.Writer) { printRotation(w, out) })
}

func printRotation(w io.Writer, r api.TokenRotation) {
	fmt.Fprintf(w, "rotated at %s; tokens made before are valid until %s\n",
		r.Rotated.UTC().Format(time.RFC3339), r.OldValidUntil.UTC().Format(time.RFC3339))
	if len(r.Outstanding) == 0 {
		fmt.Fprintln(w, "none is valid any more: make new ones with `miner auth api-info` and give them to the other half and "+
			"to the workers")
		return
	}
	fmt.Fprintln(w, "to be replaced until then, where somebody uses them (`miner auth api-info` makes new ones):")
	t := newTable(w, "ID", "Name", "Role", "Valid until")
	for _, k := range r.Outstanding {
		t.AppendRow([]any{k.ID, k.Name, k.Role, k.Expires.UTC().Format(time.RFC3339)})
	}
	t.Render()
}

// peersGiven reads the flags that name the private node, empty where they were not
// given. What is in a file is named from the root, for the config.
func peersGiven(c *cli.Context) (sealer, index string, err error) {
	read := func(flag string) string {
		s, err1 := apiinfo.Given(c.App.ErrWriter, flag, c.String(flag))
		s, err2 := rooted(s)
		err = errors.Join(err, err1, err2)
		return s
	}
	sealer, index = read("api-sealer"), read("api-sector-index")
	return sealer, index, err
}

// sealerInEnv is the private node that the environment names, empty for none.
func sealerInEnv() (string, error) {
	s, err := apiinfo.Env("MINER_API_INFO")
	if err != nil {
		return "", err
	}
	return rooted(s)
}

func rooted(info string) (string, error) {
	if !apiinfo.FromFile(info) {
		return info, nil
	}
	path, err := repo.Expand(strings.TrimPrefix(strings.TrimSpace(info), "@"))
	return "@" + path, err
}
