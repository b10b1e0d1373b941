package inputfile

import "golang.org/x/sys/unix"

// pseudoFS are the file systems whose files the kernel makes up when they are
// read (linux include/uapi/linux/magic.h).
var pseudoFS = map[int64]string{
	unix.PROC_SUPER_MAGIC:    "/proc",
	unix.SYSFS_MAGIC:         "/sys",
	unix.DEBUGFS_MAGIC:       "debugfs",
	unix.TRACEFS_MAGIC:       "tracefs",
	unix.SECURITYFS_MAGIC:    "securityfs",
	unix.CGROUP_SUPER_MAGIC:  "cgroup",
	unix.CGROUP2_SUPER_MAGIC: "cgroup",
	unix.BPF_FS_MAGIC:        "bpf",
}

// pseudo names the file system of a path where its files are made up; empty for
// every other, and where it cannot be told.
func pseudo(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return ""
	}
	return pseudoFS[int64(st.Type)]
}
