package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"quarry/api"
)

// files tries what the peer's own methods give of files that are none of its
// business.
func (a *attack) files() (out []try) {
	sector := a.Sector
	add := func(name, method string, params ...any) {
		out = append(out, try{name, func(ctx context.Context) error { return a.refused(ctx, method, params...) }})
	}
	for _, k := range api.AllFileTypes {
		add("lock of "+k.String()+" files for writing", "StorageLock", api.LockRequest{Sector: sector, Write: k})
		add("bearer to delete "+k.String()+" files", "StorageFileBearer", api.FileUse{URL: a.fileURL(k), Delete: true})
		if k == api.FileUnsealed {
			continue
		}
		add("places of "+k.String()+" files", "StorageFindSector", sector, k)
		add("places of "+k.String()+" and unsealed files", "StorageFindSector", sector, k|api.FileUnsealed)
		add("bearer to read "+k.String()+" files", "StorageFileBearer", api.FileUse{URL: a.fileURL(k)})
		add("lease of "+k.String()+" files", "StorageLock", api.LockRequest{Sector: sector, Read: k})
		add("lease of "+k.String()+" and unsealed files", "StorageLock", api.LockRequest{Sector: sector, Read: k | api.FileUnsealed})
	}
	add("places of no kind of file", "StorageFindSector", sector, 0)
	add("places of all kinds of file", "StorageFindSector", sector, 31)
	for _, path := range []string{
		"sealed/" + api.SectorName(sector), "unsealed/" + api.SectorName(sector), "staging/../sealed/" + api.SectorName(sector),
		"sectorstore.json", "../token", "../keystore", "/etc/hostname",
	} {
		data := api.DataRef{StorageID: a.WorkerPath, Path: path, Size: 127}
		add("piece out of "+path, "SectorAddPiece", map[string]any{"Key": "x", "Data": data})
	}
	for _, url := range []string{
		"http://169.254.169.254/latest/meta-data/", a.Private + "/remote/sealed/" + api.SectorName(sector), a.Private + "/health/livez",
		a.trap.url + "/x", a.trap.url + "/x?y=/staged/00000000-0000-4000-8000-000000000000", "file:///etc/hostname",
	} {
		data := api.DataRef{URL: url, Token: a.token, Size: 127}
		out = append(out, try{"piece from " + url, func(ctx context.Context) error {
			return errors.Join(a.refused(ctx, "SectorAddPiece", map[string]any{"Key": "x", "Data": data}), a.trap.empty())
		}})
	}
	return append(out, try{"secrets in the state of a sector", a.sectorSecrets})
}

func (a *attack) fileURL(k api.FileType) string {
	return a.Worker + "/remote/" + k.String() + "/" + api.SectorName(a.Sector)
}

// sectorSecrets looks for hosts and paths in what a peer is told of a sector.
func (a *attack) sectorSecrets(ctx context.Context) error {
	r, err := a.call(ctx, a.Private, a.token, "SectorsStatus", a.Sector.Number, true)
	if err != nil || r.Error != nil {
		return err
	}
	var info api.SectorInfo
	if err := json.Unmarshal(r.Result, &info); err != nil {
		return err
	}
	if info.Task != nil || len(info.Log) > 0 || info.LastErr != "" {
		return fmt.Errorf("task %v, log of %d lines, error %q", info.Task, len(info.Log), info.LastErr)
	}
	return nil
}

// paths tries to take the place of a process that serves files, or to speak for it.
func (a *attack) paths() (out []try) {
	meta := api.PathMeta{ID: a.WorkerPath, Weight: 1 << 40, CanSeal: true, CanStore: true}
	stat := api.FsStat{Capacity: 1 << 60, Available: 1 << 60}
	worker := a.Worker + "/remote"
	evil := a.trap.url + "/remote"
	var all []try
	add := func(name, method string, params ...any) {
		all = append(all, try{name, func(ctx context.Context) error { return a.refused(ctx, method, params...) }})
	}
	for name, url := range map[string]string{
		"a server of ours": evil, "the worker's": worker, "the private node's": a.Private + "/remote",
		"one with a user": "http://u:p@" + evil[7:], "one that is none": "x", "a file": "file:///etc/passwd",
		"metadata of a cloud": "http://169.254.169.254/remote",
	} {
		add("path under a URL: "+name, "StorageAttach", meta, url, stat)
		add("new path under a URL: "+name, "StorageAttach", api.PathMeta{ID: "of-the-attacker"}, url, stat)
	}
	add("detaching the worker's path", "StorageDetach", a.WorkerPath, worker)
	add("report that the worker's path is gone", "StorageReportHealth", api.PathHealth{Storage: a.WorkerPath, URL: worker, Err: "gone"})
	add("path without a name", "StorageAttach", api.PathMeta{}, "", stat)
	all = append(all, try{"rules and room of the worker's path", func(ctx context.Context) error {
		own := api.PathMeta{ID: a.WorkerPath, AllowTypes: []string{"update"}}
		if _, err := a.call(ctx, a.Private, a.token, "StorageAttach", own, "", stat); err != nil {
			return err
		}
		_, err := a.call(ctx, a.Private, a.token, "StorageReportHealth", api.PathHealth{Storage: a.WorkerPath, Err: "gone"})
		return err // what became of it, each try looks at
	}}, try{"detaching by a peer that attached it too", func(ctx context.Context) error {
		_, err := a.call(ctx, a.Private, a.token, "StorageDetach", a.WorkerPath, "")
		return err
	}})
	for _, t := range all {
		out = append(out, try{t.name, func(ctx context.Context) error {
			before, err := a.Judge.StorageGet(ctx, a.WorkerPath)
			if err != nil {
				return fmt.Errorf("the judge: %w", err)
			}
			return errors.Join(t.run(ctx), a.samePath(ctx, before), a.trap.empty())
		}})
	}
	return out
}

// samePath requires that a path is what it was.
func (a *attack) samePath(ctx context.Context, before api.StoragePath) error {
	now, err := a.Judge.StorageGet(ctx, a.WorkerPath)
	if err != nil {
		return fmt.Errorf("the path is lost: %w", err)
	}
	shown := func(p api.StoragePath) string {
		return fmt.Sprintf("%+v %v %v %q", p.PathMeta, p.URLs, p.Stat.Capacity, p.HeartbeatErr)
	}
	if shown(now) != shown(before) {
		return fmt.Errorf("the path was %s and is %s", shown(before), shown(now))
	}
	if _, err := a.Judge.StorageGet(ctx, "of-the-attacker"); err == nil {
		return errors.New("a path of ours has come into being")
	}
	return nil
}
