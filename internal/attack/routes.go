package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"quarry/api"
)

// routes tries every route of the private node and of the worker, with all that was
// found on the markets host and with nothing.
func (a *attack) routes() (out []try) {
	name := api.SectorName(a.Sector)
	list := []string{
		"/remote/stat/" + string(a.WorkerPath), "/remote/unsealed/" + name + "/allocated/0/128",
		"/remote/cache/" + name + "/file/p_aux", "/remote/", "/remote//sealed/" + name,
		"/remote/unsealed/" + name + "/../../sealed/" + name, "/remote/unsealed/" + name + "/%2e%2e/%2e%2e/sealed/" + name,
		"/blobs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "/staged/00000000-0000-4000-8000-000000000000",
	}
	for _, k := range api.AllFileTypes {
		list = append(list, "/remote/"+k.String()+"/"+name)
	}
	bases := map[string]string{"private node": a.Private}
	if a.Worker != "" {
		bases["worker"] = a.Worker
	}
	for who, base := range bases {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete,
			http.MethodOptions} {
			for _, path := range list {
				out = append(out, try{fmt.Sprintf("%s %s of the %s", method, path, who), func(ctx context.Context) error {
					return a.withLoot(ctx, method, base+path)
				}})
			}
		}
		for _, path := range pages {
			out = append(out, try{fmt.Sprintf("page %s of the %s", path, who), func(ctx context.Context) error {
				return a.nothing(ctx, http.MethodGet, base+path, a.token)
			}})
		}
	}
	return out
}

// withLoot makes a request with each token there is, in the header and in the query.
func (a *attack) withLoot(ctx context.Context, method, url string) error {
	var errs []error
	for _, token := range append([]string{""}, a.loot...) {
		errs = append(errs, a.nothing(ctx, method, url, token), a.nothing(ctx, method, url+"?token="+token, ""))
	}
	return errors.Join(errs...)
}

// pages are places where servers of other makers tell something.
var pages = []string{"/", "/debug/pprof/", "/debug/vars", "/debug/metrics", "/metrics", "/api", "/token", "/config", "/ipfs/x", "/piece/x"}

// nothing requires that a request gets no content.
func (a *attack) nothing(ctx context.Context, method, url, token string) error {
	r, err := a.ask(ctx, method, url, token, nil)
	if err != nil {
		return err
	}
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMovedPermanently,
		http.StatusTemporaryRedirect:
		return nil
	}
	return fmt.Errorf("%s %s gave %d %.100q", method, url, r.status, r.body)
}
