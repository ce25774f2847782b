/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A lease table in a file, in the form of lease_format(). */
struct lease_table;

/* Adds the leases of the file; one that is not there is empty. Lines that are
 * wrong are left out, with one log line. 0; -errno of open(2) and read(2);
 * -EFBIG for what is no such file. */
int lease_file_read(const char *path, struct lease_table *table);
/* Replaces the file as a whole, so that it is the old or the new one whatever
 * happens to the program meanwhile. Does not wait for the disk. -errno. */
int lease_file_write(const char *path, const struct lease_table *table);
