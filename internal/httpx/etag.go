package httpx

import (
	"fmt"
	"io/fs"
	"syscall"
)

// ETag is a strong validator of a file that is served: size, time of the last
// change and inode, so that a file replaced by another of the same length has
// another one.
func ETag(st fs.FileInfo) string {
	var inode uint64
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x"`, st.Size(), st.ModTime().UnixNano(), inode)
}
