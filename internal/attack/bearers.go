package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"quarry/api"
)

// bearers tries the bearer of the one file that a peer may read on everything else.
func (a *attack) bearers() (out []try) {
	name := api.SectorName(a.Sector)
	for _, base := range []string{a.Private, a.Worker} {
		for _, c := range []struct{ method, path string }{
			{http.MethodDelete, "/remote/unsealed/" + name}, {http.MethodPut, "/remote/unsealed/" + name},
			{http.MethodGet, "/remote/sealed/" + name}, {http.MethodGet, "/remote/cache/" + name},
			{http.MethodGet, "/remote/cache/" + name + "/file/p_aux"},
			{http.MethodGet, "/remote/update/" + name}, {http.MethodGet, "/remote/update-cache/" + name},
			{http.MethodGet, "/remote/unsealed/" + name + "0"}, {http.MethodDelete, "/remote/sealed/" + name},
			{http.MethodGet, "/remote/unsealed/" + name + "/../../sealed/" + name},
			{http.MethodGet, "/remote/unsealed/" + name + "/%2e%2e/%2e%2e/sealed/" + name},
			{http.MethodGet, "/remote/stat/" + string(a.WorkerPath)}, {http.MethodPost, "/rpc/v1"}, {http.MethodPost, "/rpc/v0"},
			{http.MethodGet, "/blobs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
		} {
			out = append(out, try{fmt.Sprintf("bearer of the unsealed file for %s %s%s", c.method, base, c.path),
				func(ctx context.Context) error {
					return a.withBearer(ctx, func(token string) error { return a.nothing(ctx, c.method, base+c.path, token) })
				}})
		}
	}
	return append(out,
		try{"bearer of a worker's file at the private node", func(ctx context.Context) error {
			return a.withBearer(ctx, func(token string) error {
				return a.nothing(ctx, http.MethodGet, a.Private+"/remote/unsealed/"+name, token)
			})
		}},
		try{"bearers changed", a.changedBearers},
		try{"bearer for a server of ours", func(ctx context.Context) error {
			use := api.FileUse{URL: a.trap.url + "/remote/unsealed/" + name}
			return errors.Join(a.refused(ctx, "StorageFileBearer", use), a.trap.empty())
		}},
		try{"bearer for a place near a known one", func(ctx context.Context) error {
			var errs []error
			for _, url := range []string{a.Worker + "@" + a.trap.url[7:] + "/remote/unsealed/" + name, a.Worker +
				"/remote/x/unsealed/" + name,
				a.Worker + "/remote/unsealed/" + name + "/../../sealed/" + name, a.Worker + "/remote/unsealed/" + name +
					"?x=/sealed/" + name} {
				errs = append(errs, a.refused(ctx, "StorageFileBearer", api.FileUse{URL: url}))
			}
			return errors.Join(errs...)
		}})
}

// withBearer gets the bearer that a peer may have and tries something with it.
func (a *attack) withBearer(ctx context.Context, f func(token string) error) error {
	r, err := a.call(ctx, a.Private, a.token, "StorageFileBearer", api.FileUse{URL: a.fileURL(api.FileUnsealed)})
	if err != nil {
		return err
	}
	if r.Error != nil {
		return fmt.Errorf("the try cannot be made: a peer gets no bearer for the unsealed file: %s", r.Error.Message)
	}
	var b api.FileBearer
	if err := json.Unmarshal(r.Result, &b); err != nil {
		return err
	}
	return f(b.Token)
}

// changedBearers makes others out of a bearer: of another file, for ever, with
// another algorithm.
func (a *attack) changedBearers(ctx context.Context) error {
	return a.withBearer(ctx, func(token string) error {
		parts := strings.Split(token, ".")
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			return err
		}
		enc := base64.RawURLEncoding.EncodeToString
		sealed := enc([]byte(strings.Replace(string(claims), "unsealed/", "sealed/", 1)))
		del := enc([]byte(strings.Replace(string(claims), "GET", "DELETE", 1)))
		none := enc([]byte(`{"alg":"none","typ":"JWT"}`))
		name := api.SectorName(a.Sector)
		var errs []error
		for _, t := range []string{parts[0] + "." + sealed + "." + parts[2], none + "." + sealed + ".", none + "." + sealed + "." +
			parts[2],
			hmacToken(`{"alg":"HS256","typ":"JWT"}`, strings.Replace(string(claims), "unsealed/", "sealed/", 1), "")} {
			errs = append(errs, a.nothing(ctx, http.MethodGet, a.Worker+"/remote/sealed/"+name, t))
		}
		errs = append(errs, a.nothing(ctx, http.MethodDelete, a.Worker+"/remote/unsealed/"+name, parts[0]+"."+del+"."+parts[2]),
			a.nothing(ctx, http.MethodDelete, a.Worker+"/remote/unsealed/"+name, none+"."+del+"."))
		return errors.Join(errs...)
	})
}
