/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The configuration file as libyaml's tree, compared with libcyaml's schema.
 *
 * libcyaml fills the struct, but it stops at the first fault and does not say
 * what would be right. The tree's nodes know their place, so with them every
 * unknown key and every value of another kind is found in one go, with line and
 * column, as are the places of the faults that config_check.c finds. Part of
 * config_parse.c's adapter: nobody else includes this. */
#include <stdbool.h>
#include <stddef.h>

#include <cyaml/cyaml.h>
#include <yaml.h>

#include "forwarder/problems.h"

#define CONFIG_STRING_MAX 4096

struct config_tree {
	yaml_document_t document; /* has a root */
	char *text;		  /* the caller's; ends with NUL */
};

/* 0; -EINVAL with a problem: no YAML, empty, more than one document; -ENOMEM. */
int config_tree_load(struct config_tree *tree, char *text, size_t len, struct problems *problems);
void config_tree_unload(struct config_tree *tree);
/* Adds all problems. Whether libcyaml can read the text even so: keys of values
 * that are wrong are made unknown in it. */
bool config_tree_check(struct config_tree *tree, const cyaml_schema_value_t *schema,
		       struct problems *problems);
/* Lines and columns for problems that have a field but no place. */
void config_tree_locate(struct config_tree *tree, struct problems *problems);
