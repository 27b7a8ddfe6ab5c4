package sqlite

import "syscall"

// localFileSystems are those on which a lock is this machine's alone (their magic numbers, linux/magic.h): the processes of another
// machine that mounts the same folder would not see it. What is not listed counts as shared.
var localFileSystems = map[int64]string{
	0xEF53: "ext2, ext3, ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0xF2F52010: "f2fs", 0x2FC12FC1: "zfs", 0xCA451A4E: "bcachefs",
	0x01021994: "tmpfs", 0x858458F6: "ramfs", 0x794C7630: "overlayfs",
}

// Local reports whether the folder is on a local disk, so that the lock proves that no other process uses it.
func (l *Lock) Local() bool {
	var at syscall.Statfs_t
	if err := syscall.Fstatfs(int(l.file.Fd()), &at); err != nil {
		return false
	}
	return localFileSystems[int64(at.Type)&0xFFFFFFFF] != ""
}
