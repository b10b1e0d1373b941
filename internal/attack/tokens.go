package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"quarry/api"
)

// hmacToken is a token signed with a secret of our own.
func hmacToken(header, claims, secret string) string {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + enc(mac.Sum(nil))
}

// tokens tries tokens that nobody was given, and those of the markets node itself,
// at the private node and at the worker.
func (a *attack) tokens() (out []try) {
	const hs, all = `{"alg":"HS256","typ":"JWT"}`, `{"Allow":["read","write","sign","admin"]}`
	enc := base64.RawURLEncoding.EncodeToString
	parts := strings.Split(a.token, ".")
	claims, _ := base64.RawURLEncoding.DecodeString(parts[1]) // a token that was taken as one
	admin := strings.Replace(string(claims), `"Allow":[`, `"Allow":["admin",`, 1)
	forged := map[string]string{
		"no token":                   "",
		"nonsense":                   "admin",
		"no algorithm":               enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc([]byte(all)) + ".",
		"no algorithm, in capitals":  enc([]byte(`{"alg":"NONE","typ":"JWT"}`)) + "." + enc([]byte(all)) + ".",
		"another secret":             hmacToken(hs, all, "secret"),
		"no secret":                  hmacToken(hs, all, ""),
		"a key that is named":        hmacToken(`{"alg":"HS256","kid":"../../dev/null"}`, all, ""),
		"a key that comes along":     hmacToken(`{"alg":"HS256","jwk":{"kty":"oct","k":""}}`, all, ""),
		"the peer's, role upgraded":  parts[0] + "." + enc([]byte(admin)) + "." + parts[2],
		"the peer's, signed by us":   hmacToken(hs, admin, "secret"),
		"the peer's, other header":   enc([]byte(`{"alg":"HS384","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
		"the peer's, no signature":   parts[0] + "." + parts[1] + ".",
		"the peer's, cut":            a.token[:len(a.token)-1],
		"expired":                    hmacToken(hs, `{"Allow":["admin"],"exp":1}`, "secret"),
		"longer than tokens may be":  strings.Repeat("a.b.c", 4000),
		"two tokens":                 a.token + " " + a.token,
		"with the name of its owner": "admin:" + a.token,
	}
	for name, token := range forged {
		out = append(out, try{"token: " + name, func(ctx context.Context) error { return a.closedToAll(ctx, token) }})
	}
	for n, token := range a.loot {
		if token != a.token {
			out = append(out, try{fmt.Sprintf("token found on the markets host: number %d", n+1), func(ctx context.Context) error {
				return a.closedToAll(ctx, token)
			}})
		}
	}
	return append(out, a.ended()...)
}

// ended tries tokens that once were worth everything: the judge makes them.
func (a *attack) ended() []try {
	return []try{
		{"token: an admin's, revoked", func(ctx context.Context) error {
			token, err := a.Judge.AuthCreate(ctx, api.TokenRequest{Name: "to be revoked", Perm: api.PermAdmin})
			if err != nil {
				return err
			}
			list, err := a.Judge.AuthList(ctx)
			if err != nil {
				return err
			}
			for _, t := range list {
				if t.Name == "to be revoked" {
					err = errors.Join(err, a.Judge.AuthRevoke(ctx, t.ID))
				}
			}
			return errors.Join(err, a.closedToAll(ctx, token))
		}},
		{"token: an admin's, expired", func(ctx context.Context) error {
			end := time.Now().Add(time.Second).Truncate(time.Second).Add(time.Second)
			token, err := a.Judge.AuthCreate(ctx, api.TokenRequest{Name: "to expire", Perm: api.PermAdmin, Expires: end})
			if err != nil {
				return err
			}
			select {
			case <-time.After(time.Until(end)):
			case <-ctx.Done():
				return ctx.Err()
			}
			return a.closedToAll(ctx, token)
		}},
	}
}

// closedToAll requires that a token opens nothing at all.
func (a *attack) closedToAll(ctx context.Context, token string) error {
	var errs []error
	for _, base := range []string{a.Private, a.Worker} {
		for _, method := range []string{"Version", "AuthNew", "StorageList", "Shutdown"} {
			r, err := a.call(ctx, base, token, method)
			if err == nil && (r.Error == nil || r.Error.Code != -http.StatusUnauthorized) {
				err = fmt.Errorf("%s at %s gave %+v", method, base, r)
			}
			errs = append(errs, err)
		}
		errs = append(errs, a.nothing(ctx, http.MethodGet, a.fileURL(1), token), a.nothing(ctx, http.MethodDelete, a.fileURL(1), token))
	}
	return errors.Join(errs...)
}
