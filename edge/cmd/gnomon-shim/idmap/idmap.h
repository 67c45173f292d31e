// gnomon_user_namespace makes a user namespace with a map of users and groups, and
// opens it. It returns 0 or an errno, negative. One call at a time.
int gnomon_user_namespace(const char *map, int *namespace);
